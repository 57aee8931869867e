// The identity provider: `oidc-provider`, with pages of its own for signing in and agreeing, which
// need no JavaScript. A process of its own, so that its clock can be moved.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, redirectUri, clientId, clientSecret] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;

const provider = new Provider(issuer, {
  clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
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
  // Shorter than what the suite moves the clock by, so that a password is asked for again.
  ttl: { Session: 12 * 3600, Grant: 12 * 3600, Interaction: 3600, AccessToken: 3600, IdToken: 3600 },
});

const page = (title, body) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<link rel="icon" href="data:,"></head><body><main><h1>${title}</h1>${body}</main></body></html>`;

const PAGES = {
  login: page('Log in to Example Company', `<form method="post">
<label>User <input name="user" required></label> <label>Password <input name="password" type="password" autocomplete="off" required></label>
<button name="answer" value="login">Log in</button></form>`),
  consent: page('Let Turnpike know who you are?', `<form method="post">
<button name="answer" value="allow">Allow</button> <button name="answer" value="cancel">Cancel</button></form>`),
};

async function typed(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return new URLSearchParams(Buffer.concat(pieces).toString());
}

async function agreed({ session, params, prompt }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(prompt.details.missingOIDCScope?.join(' ') ?? params.scope);
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return { consent: { grantId: await grant.save() } };
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
    cancel: () => ({ error: 'access_denied', error_description: 'The person said no.' }),
  };
  const answer = await answers[form.get('answer')]();
  return provider.interactionFinished(request, response, answer, { mergeWithLastSubmission: true });
}

const standard = provider.callback();
const server = createServer((request, response) => {
  if (!request.url.startsWith('/interaction/')) return standard(request, response);
  interaction(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
});
server.listen(Number(port), '127.0.0.1', () => console.log(`the identity provider serves ${issuer}`));
