// What people do, each in the order they do it. A step is one line of the report.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { headed, logIn, text } from './browser.mjs';
import { NO } from './house.mjs';

const model = 'gpt-4o-mini';
const ANSWER = 'Hello from the fake provider.';
const asked = (content) => ({ role: 'user', content });
const answered = (content) => ({ role: 'assistant', content });
const sdk = (house, apiKey) => new OpenAI({ baseURL: `${house.url}/v1`, apiKey, timeout: 20_000 });

async function say(client, messages) {
  const answer = await client.chat.completions.create({ model, messages });
  return answer.choices[0].message.content;
}

const linkIn = (said, house) => {
  const [link] = said.match(/http:\S+\/auth\/login\?token=\S+/) ?? [];
  assert.ok(link?.startsWith(house.url), said);
  return link;
};

/** Opens `go`, logs in, and types the code that the gateway writes to its log. */
async function signIn({ house, page, user = 'ada' }) {
  await page.getByRole('link', { name: 'Continue with Example Company' }).click();
  const line = house.gateway.line(/Confirmation Code/);
  await logIn(page, user);
  const [code] = (await line).match(/\b\d{6}\b/);
  await headed(page, 'Confirm it is you');
  await page.getByLabel('Code').fill(code);
  await page.getByRole('button', { name: 'Confirm' }).click();
  await headed(page, 'You are signed in');
}

async function makeToken(page, name) {
  await page.getByLabel('Name of the agent or device').fill(name);
  await page.getByRole('button', { name: 'Make token' }).click();
  await headed(page, 'Your new agent token');
  return page.getByLabel('Token', { exact: true }).inputValue();
}

/** The first login of an agent, its session's end, and the login after that. JavaScript is off. */
export async function agent(step, house, browser) {
  const page = await browser.person();
  const talk = [asked('Hello?')];
  const none = sdk(house, 'put-your-key-here');
  let token;
  let callback;
  page.on('request', (request) => {
    if (request.url().startsWith(`${house.url}/auth/callback`)) callback = request.url();
  });

  await step('an agent without a token is told where to sign in', async () => {
    const said = await say(none, talk);
    assert.match(said, /^Authentication Required\n/);
    talk.push(answered(said), asked('I have signed in.'));
    assert.equal(house.calls.length, 0);
    await page.goto(linkIn(said, house));
    await headed(page, 'Sign in');
    await browser.look(page, 'chooser');
  });
  await step('the provider, consent and the code of the log', async () => {
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    const line = house.gateway.line(/Confirmation Code/);
    await logIn(page, 'ada');
    const [code] = (await line).match(/\b\d{6}\b/);
    await headed(page, 'Confirm it is you');
    await browser.look(page, 'code');
    await page.getByLabel('Code').fill(code === '000000' ? '000001' : '000000');
    await page.getByRole('button', { name: 'Confirm' }).click();
    await page.getByRole('alert').waitFor();
    assert.match(await text(page), /Incorrect code\. 2 attempts remaining\./);
    await browser.look(page, 'wrong code');
    await page.getByLabel('Code').fill(code);
    await page.getByRole('button', { name: 'Confirm' }).click();
    await headed(page, 'You are signed in');
    assert.match(await text(page), /ada@example\.com/);
    await browser.look(page, 'signed in');
  });
  await step('a token is made and shown once', async () => {
    token = await makeToken(page, 'claude-code on my laptop');
    assert.match(token, /^tp-[a-z0-9]{16}\.\S+$/);
    await browser.look(page, 'new token');
    await page.getByRole('link', { name: 'Your agent tokens' }).click();
    await headed(page, 'Your agent tokens');
    const source = await page.content();
    assert.ok(source.includes('claude-code on my laptop') && !source.includes(token));
    await browser.look(page, 'tokens');
  });
  await step('the conversation goes on with the token', async () => {
    assert.equal(await say(sdk(house, token), talk), ANSWER);
    const got = JSON.parse(house.calls.at(-1));
    assert.deepEqual(got.messages, [talk[0], talk[2]]);
  });
  await step('a callback cannot be replayed', async () => {
    await page.goto(callback);
    await headed(page, 'Invalid session');
    await browser.look(page, 'replayed');
  });
  await step('a day later the agent is told that its session is over', async () => {
    talk.push(answered(ANSWER), asked('Good morning.'));
    house.moveClock('+25h');
    const said = await until(() => say(sdk(house, token), talk), (said) => said !== ANSWER);
    assert.match(said, /^Re-Authentication Required\n[^]*Session expired/);
    talk.push(answered(said), asked('I have signed in again.'));
    await page.goto(linkIn(said, house));
    await headed(page, 'Sign in');
    assert.match(await text(page), /the token that it has works again/);
    await browser.look(page, 'chooser of a renewal');
  });
  await step('after another login the same token works again', async () => {
    await signIn({ house, page });
    assert.match(await text(page), /Your agent tokens work again/);
    await browser.look(page, 'signed in again');
    assert.equal(await say(sdk(house, token), talk), ANSWER);
    assert.deepEqual(JSON.parse(house.calls.at(-1)).messages, talk.filter(({ content }) => !content.includes('/auth/login?token=')));
  });
  await step('the provider never saw the gateway’s words', () => {
    const all = house.calls.join('\n');
    assert.ok(house.calls.length >= 2 && !/Authentication Required|auth\/login|turnpike/i.test(all), all);
  });
  await page.context().close();
}

/** What one does with one's tokens. JavaScript is off. */
export async function account(step, house, browser) {
  const page = await browser.person();
  let token;

  await step('the gateway’s address opened in a browser leads to the login', async () => {
    await page.goto(house.url);
    await headed(page, 'Sign in');
    await signIn({ house, page, user: 'eve' });
    await page.goto(`${house.url}/auth/tokens`);
    await headed(page, 'Your agent tokens');
    await browser.look(page, 'no tokens');
  });
  await step('a token without a name is not made', async () => {
    await page.getByLabel('Name of the agent or device').fill('  ');
    await page.getByRole('button', { name: 'Make token' }).click();
    await page.getByRole('alert').waitFor();
    await browser.look(page, 'without a name');
  });
  await step('a token of an odd name is made and works', async () => {
    token = await makeToken(page, '<b>Évelyne’s "build" box</b>');
    assert.equal(await say(sdk(house, token), [asked('Hello?')]), ANSWER);
    await page.goto(`${house.url}/auth/tokens`);
    assert.match(await text(page), /<b>Évelyne’s "build" box<\/b>/);
  });
  await step('a token that is revoked is refused at once', async () => {
    await page.locator('summary').click();
    await browser.look(page, 'about to revoke');
    await page.getByRole('button', { name: 'Revoke for good' }).click();
    await page.getByText('revoked', { exact: true }).waitFor();
    await browser.look(page, 'revoked');
    assert.match(await say(sdk(house, token), [asked('Hello?')]), /Authentication Required/);
  });
  await step('signing out', async () => {
    token = await makeToken(page, 'another');
    const old = await page.context().newPage();
    await old.goto(`${house.url}/auth/tokens`);
    await page.getByRole('link', { name: 'Sign out' }).click();
    await headed(page, 'Sign out');
    await browser.look(page, 'sign out');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await headed(page, 'You are signed out');
    await browser.look(page, 'signed out');
    assert.match(await say(sdk(house, token), [asked('Hello?')]), /^Re-Authentication Required/);
    await old.getByRole('link', { name: 'Sign out' }).click();
    await headed(old, 'You are signed out');
    await old.goto(`${house.url}/auth/tokens`);
    await headed(old, 'Sign in');
  });
  await page.context().close();
}

/** Nothing but a keyboard, from the chooser to the token. */
export async function keyboard(step, house, browser) {
  const page = await browser.person({ scripts: true });

  await step('a whole login by keyboard alone', async () => {
    await page.goto(`${house.url}/auth/login`);
    await tabTo(page, page.getByRole('link', { name: 'Continue with Example Company' }));
    await page.keyboard.press('Enter');
    await tabTo(page, page.getByLabel('User'));
    await page.keyboard.type('kim');
    await tabTo(page, page.getByLabel('Password'));
    await page.keyboard.type('any');
    const line = house.gateway.line(/Confirmation Code/);
    await page.keyboard.press('Enter');
    await tabTo(page, page.getByRole('button', { name: 'Allow' }));
    await page.keyboard.press('Enter');
    const [code] = (await line).match(/\b\d{6}\b/);
    await headed(page, 'Confirm it is you');
    assert.ok(await isFocused(page.getByLabel('Code')), 'the code can be typed at once');
    await page.keyboard.type(code);
    await page.keyboard.press('Enter');
    await headed(page, 'You are signed in');
  });
  await step('a token made, its set-up read and revoked by keyboard alone', async () => {
    await tabTo(page, page.getByLabel('Name of the agent or device'));
    await page.keyboard.type('typed');
    await page.keyboard.press('Enter');
    await headed(page, 'Your new agent token');
    await tabTo(page, page.getByLabel('Token', { exact: true }));
    await tabTo(page, page.locator('summary', { hasText: 'Codex' }));
    await page.keyboard.press('Enter');
    await page.getByText('config.toml').waitFor();
    await tabTo(page, page.getByRole('link', { name: 'Your agent tokens' }));
    await page.keyboard.press('Enter');
    await headed(page, 'Your agent tokens');
    await tabTo(page, page.locator('summary'));
    await page.keyboard.press('Enter');
    await tabTo(page, page.getByRole('button', { name: 'Revoke for good' }));
    await page.keyboard.press('Enter');
    await page.getByText('revoked', { exact: true }).waitFor();
  });
  await page.context().close();
}

/** What goes wrong, and how it is said. */
export async function problems(step, house, browser) {
  const page = await browser.person();
  const shown = async (path, heading, more) => {
    await page.goto(house.url + path);
    await headed(page, heading);
    if (more) assert.match(await text(page), more);
  };

  await step('an unknown provider', async () => {
    await shown('/auth/login/nope', "Provider 'nope' not configured");
    await browser.look(page, 'unknown provider');
  });
  await step('no at the provider', async () => {
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    await logIn(page, 'ada', 'Cancel');
    await headed(page, 'The identity provider did not let you in');
    assert.match(await text(page), /access_denied: The person said no\./);
    await browser.look(page, 'no at the provider');
  });
  await step('a callback that nobody began, without parameters, and a page that there is not', async () => {
    await shown('/auth/callback?code=a&state=b', 'Invalid session');
    await shown('/auth/callback', 'Missing parameters');
    await shown('/auth/nope', 'There is no such page');
    await browser.look(page, 'no such page');
  });
  await step('three wrong codes', async () => {
    await page.goto(`${house.url}/auth/login`);
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    const line = house.gateway.line(/Confirmation Code/);
    await page.getByRole('button', { name: 'Allow' }).click();
    const [code] = (await line).match(/\b\d{6}\b/);
    for (const left of [2, 1]) {
      await page.getByLabel('Code').fill(code === '123456' ? '654321' : '123456');
      await page.getByRole('button', { name: 'Confirm' }).click();
      await page.getByText(`${left} attempts remaining`).waitFor();
    }
    await page.getByLabel('Code').fill('not a code');
    await page.getByRole('button', { name: 'Confirm' }).click();
    await headed(page, 'Maximum attempts exceeded');
    await browser.look(page, 'too many codes');
  });
  await page.context().close();
}

/** The authorization API decides, after a reload. */
export async function enterprise(step, house, browser) {
  await step('a reload switches to the authorization API', async () => {
    await house.reconfigure(`{mode: enterprise, api_url: "${house.api}/check"}`);
  });
  await step('whom it lets in needs no code', async () => {
    const page = await browser.person();
    await page.goto(`${house.url}/auth/login`);
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    await logIn(page, 'ada');
    await headed(page, 'You are signed in');
    const { user_email, provider, client_ip } = house.questions.at(-1);
    assert.deepEqual({ user_email, provider, client_ip }, { user_email: 'ada@example.com', provider: 'company', client_ip: '127.0.0.1' });
    await page.context().close();
  });
  await step('whom it does not reads why', async () => {
    const page = await browser.person();
    await page.goto(`${house.url}/auth/login`);
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    await logIn(page, 'bob');
    await headed(page, 'Access denied');
    assert.ok((await text(page)).includes(NO));
    await browser.look(page, 'access denied');
    await page.context().close();
  });
}

/** The last walk: this address has to wait after it. */
export async function hurry(step, house, browser) {
  await step('too many attempts', async () => {
    const page = await browser.person();
    const attempt = () => page.request.get(`${house.url}/auth/login/company`, { maxRedirects: 0 });
    for (let left = 20; left > 0 && (await attempt()).status() !== 429; left -= 1);
    await page.goto(`${house.url}/auth/login`);
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    await headed(page, 'Please wait before trying again');
    await browser.look(page, 'too many attempts');
    await page.context().close();
  });
}

/** Asks until the answer is another: what is waited for has no news of its own. */
async function until(ask, isEnough, deadline = Date.now() + 15_000) {
  const answer = await ask();
  if (isEnough(answer) || Date.now() > deadline) return answer;
  await new Promise((done) => setTimeout(done, 50));
  return until(ask, isEnough, deadline);
}

const isFocused = (locator) => locator.evaluate((one) => one === document.activeElement);

/** Presses Tab until the element has the focus, which must show. */
async function tabTo(page, locator) {
  await locator.waitFor();
  for (let left = 30; left > 0; left -= 1) {
    await page.keyboard.press('Tab');
    if (await isFocused(locator)) {
      const outline = await locator.evaluate((one) => getComputedStyle(one).outlineStyle);
      assert.notEqual(outline, 'none', `the focus does not show: ${locator}`);
      return;
    }
  }
  assert.fail(`Tab does not reach ${locator}`);
}
