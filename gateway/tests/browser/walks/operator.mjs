import assert from 'node:assert/strict';
import { KEY, LOOKING } from '../house.mjs';
import { codeIn, headed, logIn, makeToken, signIn, text, typeCode } from '../pages.mjs';
import { isFocused, tabTo } from './keyboard.mjs';

/** What operators see and do. JavaScript is off, but for the walk by keyboard. */
export async function operator(step, house, browser) {
  const page = await browser.person();
  const tab = (name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click();

  await step('somebody has something to look at', async () => {
    const person = await browser.person();
    await person.goto(`${house.url}/auth/login`);
    await signIn({ house, page: person, user: 'ned' });
    const token = await makeToken(person, '<b>Ned’s "laptop"</b>');
    await person.context().close();
    await house.manage('POST', '/tokens', { name: 'nightly-build', cidrs: ['10.0.0.0/8'] });
    await house.manage('POST', '/auths', { provider: 'openai', type: 'api_key', token: 'sk-browser-suite-added', label: 'spare', quota: { limit: 5_000_000 } });
    // The first credential runs out of its quota, and then the other one is tried, which is refused.
    for (let left = 40; left > 0; left -= 1) {
      const answer = await fetch(`${house.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'mistral-large', messages: [{ role: 'user', content: 'Hello?' }] }),
      });
      if (answer.status !== 200) break;
    }
  });
  await step('the admin listener opened in a browser asks for a key, and takes no other', async () => {
    await page.goto(house.admin);
    await headed(page, 'Sign in as an operator');
    await browser.look(page, 'operator sign in');
    await typeKey(page, 'not-a-key-of-this-gateway');
    await page.getByRole('alert').waitFor();
    assert.equal(await page.getByLabel('Key of the management API').inputValue(), '');
    await browser.look(page, 'operator wrong key');
    await typeKey(page, KEY);
    await headed(page, 'Credentials');
  });
  await step('credentials are shown as they stand', async () => {
    const shown = await text(page);
    for (const part of [/1 exhausted/, /1 cooling/, /mistral\/team-a/, /of 200 tokens used; begins anew/, /Refused by the provider \(401\)/, /spare/]) assert.match(shown, part);
    await browser.look(page, 'operator credentials');
    await page.getByLabel('Find by name').fill('team-b');
    await page.getByRole('button', { name: 'Find' }).click();
    assert.doesNotMatch(await text(page), /team-a/);
    await page.getByRole('link', { name: 'Show all' }).click();
  });
  await step('a quota is cleared, and a credential removed', async () => {
    await page.getByRole('button', { name: 'Clear quota and cooldowns of mistral/team-b' }).click();
    await page.getByText('Quota and cooldowns are cleared.').waitFor();
    assert.doesNotMatch(await text(page), /1 cooling/);
    await browser.look(page, 'operator cleared');
    await page.getByRole('link', { name: 'Remove openai/key-' }).click();
    await headed(page, 'Remove a credential');
    await browser.look(page, 'operator about to remove');
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.getByText('The credential is removed.').waitFor();
    assert.doesNotMatch(await text(page), /spare/);
  });
  await step('a token is revoked', async () => {
    await tab('Agent tokens');
    await headed(page, 'Agent tokens');
    assert.match(await text(page), /<b>Ned’s "laptop"<\/b>/);
    assert.match(await text(page), /ned@example\.com/);
    await browser.look(page, 'operator tokens');
    await page.getByRole('link', { name: 'Revoke nightly-build' }).click();
    await headed(page, 'Revoke an agent token');
    await browser.look(page, 'operator about to revoke');
    await page.getByRole('button', { name: 'Revoke for good' }).click();
    await page.getByText('The agent token is revoked.').waitFor();
  });
  await step('a session is ended, and who was slowed down is let through', async () => {
    // An attempt that is not finished is counted.
    const hasty = await browser.person();
    await hasty.request.get(`${house.url}/auth/login/company`, { maxRedirects: 0 });
    await hasty.context().close();
    await tab('Logins');
    await headed(page, 'Logins');
    await browser.look(page, 'operator logins');
    await page.getByRole('link', { name: 'End session of ned@example.com' }).click();
    await headed(page, 'End a session');
    await browser.look(page, 'operator about to end');
    await page.getByRole('button', { name: 'End session' }).click();
    await page.getByText('The session is over.').waitFor();
    await page.getByRole('button', { name: 'Let the next attempt through, address' }).click();
    await page.getByText('The next attempt is let through.').waitFor();
  });
  await step('what was used, and by whom', async () => {
    await tab('Usage');
    await headed(page, 'Usage');
    await page.getByLabel('By').selectOption('Key or token');
    await page.getByRole('button', { name: 'Show' }).click();
    await headed(page, 'Usage');
    await browser.look(page, 'operator usage');
    await page.getByLabel('From').fill('2020-01-01');
    await page.getByLabel('To', { exact: true }).fill('2020-01-02');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByText('Nothing was used on these days.').waitFor();
    await browser.look(page, 'operator no usage');
  });
  await step('what runs', async () => {
    await tab('Gateway');
    await headed(page, 'Gateway');
    await page.getByRole('button', { name: 'Read the configuration again' }).click();
    await page.getByText('The configuration was read and is in force.').waitFor();
    await browser.look(page, 'operator gateway');
    await page.getByRole('link', { name: 'Configuration in effect' }).click();
    await headed(page, 'Configuration in effect');
    assert.match(await text(page), /"role_bindings"/);
    await browser.look(page, 'operator configuration');
    await page.goto(`${house.admin}/admin/nope`);
    await headed(page, 'There is no such page');
    await browser.look(page, 'operator no such page');
  });
  await step('signing out', async () => {
    await page.goto(`${house.admin}/admin`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await headed(page, 'You are signed out');
    await browser.look(page, 'operator signed out');
    await page.goto(`${house.admin}/admin/tokens`);
    await headed(page, 'Sign in as an operator');
  });
  await step('a key for looking sees nothing to change', async () => {
    await typeKey(page, LOOKING);
    await headed(page, 'Credentials');
    assert.equal(await page.getByRole('button').count(), 2, 'to find, and to sign out');
    await browser.look(page, 'operator onlooker');
    await page.goto(`${house.admin}/admin/logins`);
    await headed(page, 'You may not do that');
    await browser.look(page, 'operator lacking a scope');
  });
  await page.context().close();
  await byLogin(step, house, browser);
  await byKeyboard(step, house, browser);
  await overPages(step, house, browser);
}

/** More than a page shows. */
async function overPages(step, house, browser) {
  await step('a long list is turned over', async () => {
    for (let n = 0; n < 51; n += 1) await house.manage('POST', '/tokens', { name: `one-of-many-${n}` });
    const page = await browser.person();
    await page.goto(house.admin);
    await typeKey(page, KEY);
    await headed(page, 'Credentials');
    await page.goto(`${house.admin}/admin/tokens`);
    await page.getByRole('link', { name: 'Next' }).click();
    await page.getByText(/Page 2 of \d/).waitFor();
    await browser.look(page, 'operator tokens turned over');
    await page.context().close();
  });
}

/** A person whom a role lets manage, and one whom none does. */
async function byLogin(step, house, browser) {
  const begin = async (page, user) => {
    await page.goto(house.admin);
    await page.getByRole('link', { name: 'Log in' }).click();
    await headed(page, 'Sign in');
    await page.getByRole('link', { name: 'Continue with Example Company' }).click();
    const line = house.gateway.line(/Confirmation Code/);
    await logIn(page, user);
    const code = codeIn(await line);
    await headed(page, 'Confirm it is you');
    await typeCode(page, code);
  };
  await step('a login leads back to the operator’s pages', async () => {
    const page = await browser.person();
    await begin(page, 'olga');
    await headed(page, 'Credentials');
    assert.equal(new URL(page.url()).origin, house.admin);
    await page.getByText('olga@example.com').waitFor();
    await lookAtPagesBetween(page, house, browser);
    await page.context().close();
  });
  await step('who may not manage reads that', async () => {
    const page = await browser.person();
    await begin(page, 'ned');
    await headed(page, 'You may not manage this gateway');
    await browser.look(page, 'operator without a role');
    await page.context().close();
  });
}

/** The pages between two of a login lead on at once: they are looked at without that. */
async function lookAtPagesBetween(page, house, browser) {
  let at = `${house.admin}/admin/sign-in/login`;
  for (const title of ['To the operator’s page', 'You are signed in']) {
    const answer = await page.context().request.get(at);
    const body = await answer.text();
    assert.ok(body.includes(`<h1>${title}</h1>`), body);
    const leadsOn = /<meta http-equiv="refresh" content="0; url=([^"]*)">/;
    at = leadsOn.exec(body)[1].replaceAll(/&amp;|&#38;/g, '&');
    await browser.inspect(answer.url(), body.replace(leadsOn, ''), title);
  }
}

/** Nothing but a keyboard, from the key to a token that is revoked. */
async function byKeyboard(step, house, browser) {
  await step('all of it by keyboard alone', async () => {
    await house.manage('POST', '/tokens', { name: 'by-keyboard' });
    const page = await browser.person({ scripts: true });
    await page.goto(house.admin);
    await tabTo(page, page.getByLabel('Key of the management API'));
    await page.keyboard.type(KEY);
    await page.keyboard.press('Enter');
    await headed(page, 'Credentials');
    await page.keyboard.press('Tab');
    assert.ok(await isFocused(page.getByRole('link', { name: 'To the content' })), 'the navigation can be skipped');
    await tabTo(page, page.getByRole('link', { name: 'Agent tokens' }));
    await page.keyboard.press('Enter');
    await headed(page, 'Agent tokens');
    await tabTo(page, page.getByLabel('Find by name'));
    await page.keyboard.type('by-keyboard');
    await page.keyboard.press('Enter');
    await page.getByText('1 in all').waitFor();
    await tabTo(page, page.getByRole('link', { name: 'Revoke by-keyboard' }));
    await page.keyboard.press('Enter');
    await headed(page, 'Revoke an agent token');
    await tabTo(page, page.getByRole('button', { name: 'Revoke for good' }));
    await page.keyboard.press('Enter');
    await page.getByText('The agent token is revoked.').waitFor();
    await tabTo(page, page.getByRole('button', { name: 'Sign out' }));
    await page.keyboard.press('Enter');
    await headed(page, 'You are signed out');
    await page.context().close();
  });
}

async function typeKey(page, key) {
  await page.getByLabel('Key of the management API').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
}
