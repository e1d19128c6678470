"""WhatsApp as a library: messages out, events in. No database, no web framework, no queue, no campaigns."""
