"""What the models may know about a contact, and when they knew it."""
