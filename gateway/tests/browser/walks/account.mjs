import assert from 'node:assert/strict';
import { headed, makeToken, signIn, text } from '../pages.mjs';
import { ANSWER, asked, say } from '../sdk.mjs';

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
    assert.equal(await say(house, token, [asked('Hello?')]), ANSWER);
    await page.goto(`${house.url}/auth/tokens`);
    assert.match(await text(page), /<b>Évelyne’s "build" box<\/b>/);
  });
  await step('a token that is revoked is refused at once', async () => {
    await page.locator('summary').click();
    await browser.look(page, 'about to revoke');
    await page.getByRole('button', { name: 'Revoke for good' }).click();
    await page.getByText('revoked', { exact: true }).waitFor();
    await browser.look(page, 'revoked');
    assert.match(await say(house, token, [asked('Hello?')]), /Authentication Required/);
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
    assert.match(await say(house, token, [asked('Hello?')]), /^Re-Authentication Required/);
    await old.getByLabel('Name of the agent or device').fill('too late');
    await old.getByRole('button', { name: 'Make token' }).click();
    await headed(old, 'Your session is over');
    await browser.look(old, 'session over');
    await old.goto(`${house.url}/auth/tokens`);
    await headed(old, 'Sign in');
  });
  await page.context().close();
}
