import assert from 'node:assert/strict';
import { headed, makeToken, signIn, text, toCode, typeCode, wrong } from '../pages.mjs';
import { ANSWER, answered, asked, linkIn, say, until } from '../sdk.mjs';

/** The first login of an agent, its session's end, and the login after that. JavaScript is off. */
export async function agent(step, house, browser) {
  const page = await browser.person();
  const talk = [asked('Hello?')];
  let token;
  let callback;
  page.on('request', (request) => {
    if (request.url().startsWith(`${house.url}/auth/callback`)) callback = request.url();
  });

  await step('an agent without a token is told where to sign in', async () => {
    const said = await say(house, 'put-your-key-here', talk);
    assert.match(said, /^Authentication Required\n/);
    talk.push(answered(said), asked('I have signed in.'));
    assert.equal(house.calls.length, 0);
    await page.goto(linkIn(said, house));
    await headed(page, 'Sign in');
    await browser.look(page, 'chooser');
  });
  await step('the provider, consent and the code of the log', async () => {
    const code = await toCode({ house, page, user: 'ada' });
    await browser.look(page, 'code');
    await typeCode(page, wrong(code));
    await page.getByRole('alert').waitFor();
    assert.match(await text(page), /Incorrect code\. 2 attempts remaining\./);
    await browser.look(page, 'wrong code');
    await typeCode(page, code);
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
    assert.equal(await say(house, token, talk), ANSWER);
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
    house.advance(25 * 60);
    const said = await until(() => say(house, token, talk), (said) => said !== ANSWER);
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
    assert.equal(await say(house, token, talk), ANSWER);
    assert.deepEqual(JSON.parse(house.calls.at(-1)).messages, talk.filter(({ content }) => !content.includes('/auth/login?token=')));
  });
  await step('the provider never saw the gateway’s words', () => {
    const all = house.calls.join('\n');
    assert.ok(house.calls.length >= 2 && !/Authentication Required|auth\/login|turnpike/i.test(all), all);
  });
  await page.context().close();
}
