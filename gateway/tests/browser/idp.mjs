// The identity provider: `oidc-provider`, with pages of its own for signing in and agreeing, which
// need no JavaScript. A process of its own, so that its clock can be moved.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, redirectUri, clientId, clientSecret] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const DAY = 24 * 3600;

const provider = new Provider(issuer, {
  clients: [{
    client_id: clientId,
    client_secret: clientSecret,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
  }],
  pkce: { required: () => true },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  // Whoever signs in is somebody: the e-mail's first part is what was typed.
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true }),
  }),
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['of-the-suite'] },
  // A session is shorter than what the suite moves the clock by, so that a password is asked for
  // again; what was granted outlasts it.
  ttl: { Session: 12 * 3600, Grant: 14 * DAY, RefreshToken: 14 * DAY, Interaction: 3600, AccessToken: 3600, IdToken: 3600 },
});

/** What people granted last, by their names. */
const grants = new Map();

const page = (title, body) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<link rel="icon" href="data:,"></head><body><main><h1>${title}</h1>${body}</main></body></html>`;

const PAGES = {
  login: page('Log in to Example Company', `<form method="post">
<label>User <input name="user" required></label> <label>Password <input name="password" type="password" autocomplete="off" required></label>
<button name="answer" value="login">Log in</button></form>`),
  consent: page('Let Turnpike know who you are?', `<form method="post">
<button name="answer" value="allow">Allow</button> <button name="answer" value="present">Only while I am here</button> <button name="answer" value="cancel">Cancel</button></form>`),
};

async function typed(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return new URLSearchParams(Buffer.concat(pieces).toString());
}

async function agreed({ session, params, prompt }, refused) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(prompt.details.missingOIDCScope?.join(' ') ?? params.scope);
  if (refused) grant.rejectOIDCScope(refused);
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  const grantId = await grant.save();
  grants.set(session.accountId, grantId);
  return { consent: { grantId } };
}

/** `POST /withdraw?user=eve`: she takes back what she granted. */
async function withdraw(request, response) {
  const user = new URL(request.url, issuer).searchParams.get('user');
  const grant = await provider.Grant.find(grants.get(user));
  await grant.destroy();
  response.writeHead(204).end();
}

async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(PAGES[details.prompt.name]);
  }
  const form = await typed(request);
  const answers = {
    login: () => ({ login: { accountId: form.get('user') } }),
    allow: () => agreed(details),
    present: () => agreed(details, 'offline_access'),
    cancel: () => ({ error: 'access_denied', error_description: 'The person said no.' }),
  };
  const answer = await answers[form.get('answer')]();
  return provider.interactionFinished(request, response, answer, { mergeWithLastSubmission: true });
}

const standard = provider.callback();
const OWN = { '/interaction/': interaction, '/withdraw?': withdraw };
const server = createServer((request, response) => {
  const [, own] = Object.entries(OWN).find(([path]) => request.url.startsWith(path)) ?? [];
  if (!own) return standard(request, response);
  own(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
});
server.listen(Number(port), '127.0.0.1', () => console.log(`the identity provider serves ${issuer}`));
