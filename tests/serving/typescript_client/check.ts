// Logs in and lists contacts with nothing but what the OpenAPI document says. Prints the number of contacts.
import createClient from 'openapi-fetch'
import type { components, paths } from './api.ts'

declare const process: { env: Record<string, string> }
const { API_URL, API_USER, API_PASSWORD } = process.env

const anonymous = createClient<paths>({ baseUrl: API_URL })
const login = await anonymous.POST('/api/v1/auth/login-json', { body: { username: API_USER, password: API_PASSWORD } })
if (login.data === undefined) throw new Error(login.error.title)

const client = createClient<paths>({ baseUrl: API_URL, headers: { Authorization: `Bearer ${login.data.access_token}` } })
const listed = await client.GET('/api/v1/contacts/', { params: { query: { limit: 10 } } })
if (listed.data === undefined) throw new Error(listed.error.title)
const contacts: components['schemas']['ContactRead'][] = listed.data.items
console.log(contacts.length)

const refused = await anonymous.GET('/api/v1/contacts/')
if (refused.error?.status !== 401) throw new Error('a stranger was let in')
