import assert from 'node:assert/strict';
import { headed, makeToken, signIn, text } from '../pages.mjs';
import { ANSWER, asked, say, until } from '../sdk.mjs';

/** The gateway looks for sessions to renew twice a minute. */
const A_LOOK = 45_000;

const talk = [asked('Hello?')];

/** Sessions that go on in silence, and end when the provider says so. JavaScript is off. */
export async function renewal(step, house, browser) {
  const people = {};

  await step('people let the gateway ask for them while they are away, or not', async () => {
    for (const [user, answer] of [['grace', 'Allow'], ['mallory', 'Allow'], ['peggy', 'Only while I am here']]) {
      const page = await browser.person();
      let begun;
      page.on('request', (request) => {
        if (request.url().startsWith(`${house.idp}/auth?`)) begun = new URL(request.url());
      });
      await page.goto(`${house.url}/auth/login`);
      await signIn({ house, page, user, answer });
      assert.deepEqual(begun.searchParams.get('scope').split(' '), ['openid', 'email', 'offline_access']);
      assert.equal(begun.searchParams.get('prompt'), 'consent');
      people[user] = { page, token: await makeToken(page, 'away') };
    }
  });
  await step('shortly before the end one is renewed, and one is ended by the provider', async () => {
    await house.withdraw('mallory');
    const said = [/session renewed.*grace@/, /session ended by its provider.*mallory@/];
    const heard = said.map((pattern) => house.gateway.line(pattern, A_LOOK));
    house.advance(24 * 60 - 5);
    await Promise.all(heard);
    for (const user of ['grace', 'peggy']) assert.equal(await say(house, people[user].token, talk), ANSWER);
    const ended = await until(() => say(house, people.mallory.token, talk), (answer) => answer !== ANSWER);
    assert.match(ended, /^Re-Authentication Required\n[^]*Session expired/);
    await people.mallory.page.goto(`${house.url}/auth/tokens`);
    await headed(people.mallory.page, 'Sign in');
  });
  await step('the token works beyond the end of the login', async () => {
    house.advance(60);
    // For her it was not renewed: that her token ends shows that the time has come.
    const ended = await until(() => say(house, people.peggy.token, talk), (answer) => answer !== ANSWER);
    assert.match(ended, /^Re-Authentication Required/);
    assert.equal(await say(house, people.grace.token, talk), ANSWER);
    await people.grace.page.goto(`${house.url}/auth/tokens`);
    await headed(people.grace.page, 'Your agent tokens');
    assert.match(await text(people.grace.page), /grace@example\.com/);
  });
  for (const { page } of Object.values(people)) await page.context().close();
}
