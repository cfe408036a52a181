/** By its id, or by a name, which means something only in its domain. */
export type Named =
  | { readonly id: string }
  | { readonly name: string; readonly domain: { readonly id: string } | { readonly name: string } }

/** What Keystone lets somebody in for. An application credential has its project in itself. */
export type KeystoneCredentials =
  | {
      readonly kind: 'password'
      readonly user: Named
      readonly password: string
      readonly project: Named
    }
  | {
      readonly kind: 'application credential'
      readonly credential: { readonly id: string } | { readonly name: string; readonly user: Named }
      readonly secret: string
    }

export type KeystoneAccount = {
  readonly credentials: KeystoneCredentials
  /** The options that the operator should look at, for messages. */
  readonly options: { readonly who: string; readonly where: string }
}

/** A domain by id or name. Source: keystoneclient/httpclient.py: none named means the id `default`. */
export function domainOf(id: string | null, name: string | null) {
  if (id !== null) return { id }
  return name === null ? { id: 'default' } : { name }
}

/** Whose log-in it is, in words: `as user backup of project backup`. */
export function bearer(credentials: KeystoneCredentials): string {
  if (credentials.kind === 'password') {
    return `as user ${label(credentials.user)} of project ${label(credentials.project)}`
  }
  const { credential } = credentials
  const owner = 'user' in credential ? ` of user ${label(credential.user)}` : ''
  return `with application credential ${label(credential)}${owner}`
}

function label(what: { readonly id: string } | { readonly name: string }): string {
  return 'id' in what ? what.id : what.name
}

/**
 * The document that Keystone wants of them.
 * Source: keystone API reference, v3, authentication by password with scoped authorization, and
 * authenticating with an application credential, which takes no scope.
 */
export function authDocument(credentials: KeystoneCredentials) {
  if (credentials.kind === 'password') {
    const { user, password, project } = credentials
    const identity = { methods: ['password'], password: { user: { ...user, password } } }
    return { auth: { identity, scope: { project } } }
  }
  const { credential, secret } = credentials
  const application_credential = { ...credential, secret }
  return { auth: { identity: { methods: ['application_credential'], application_credential } } }
}
