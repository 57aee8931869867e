import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { headed, text, toCode, typeCode } from '../pages.mjs';
import { ANSWER, asked, say } from '../sdk.mjs';
import { isFocused, tabTo } from './keyboard.mjs';

/** A terminal asks, and a person answers in a browser. JavaScript is off. */
export async function device(step, house, browser) {
  const page = await browser.person();
  let terminal;

  await step('a terminal asks, and its person signs in first', async () => {
    terminal = await house.login('--agent', 'codex', '--write');
    await page.goto(terminal.asked.verification_uri);
    await headed(page, 'Sign in');
    assert.match(await text(page), /asked about your device next/);
    await browser.look(page, 'sign in for a device');
    await typeCode(page, await toCode({ house, page, user: 'dora' }));
    await headed(page, 'Connect a device');
    await browser.look(page, 'device code');
  });
  await step('a wrong code is told and can be mended', async () => {
    await page.getByLabel('Code').fill('BBBB-BBBB');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('alert').waitFor();
    assert.equal(await page.getByLabel('Code').inputValue(), 'BBBB-BBBB');
    await browser.look(page, 'wrong device code');
  });
  await step('the code, as people type it, shows who asks', async () => {
    await page.getByLabel('Code').fill(terminal.asked.user_code.toLowerCase().replace('-', ' '));
    await page.getByRole('button', { name: 'Continue' }).click();
    await headed(page, 'Is this your device?');
    assert.match(await text(page), /turnpike-login/);
    assert.match(await text(page), /It asks from\s+127\.0\.0\.1/);
    assert.ok((await text(page)).includes(terminal.asked.user_code));
    await browser.look(page, 'about to allow');
  });
  await step('a device without a name is not allowed', async () => {
    await page.getByLabel('Name for the agent or device').fill('  ');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('alert').waitFor();
    await browser.look(page, 'device without a name');
  });
  await step('allowed, it has its token, which works', async () => {
    await page.getByLabel('Name for the agent or device').fill('Dora’s box');
    await page.getByRole('button', { name: 'Allow' }).click();
    await headed(page, 'Your device is connected');
    await browser.look(page, 'device connected');
    assert.equal(await terminal.ended(), 0);
    const variables = readFileSync(path.join(terminal.home, '.codex/.env'), 'utf8');
    const token = variables.match(/^TURNPIKE_TOKEN=(tp-.+)$/m)[1];
    assert.equal(await say(house, token, [asked('Hello?')]), ANSWER);
    await page.goto(`${house.url}/auth/tokens`);
    await page.locator('.name', { hasText: 'Dora’s box' }).waitFor();
  });
  await step('a link that is opened asks all the same, and is refused by keyboard alone', async () => {
    terminal = await house.login();
    await page.goto(terminal.asked.verification_uri_complete);
    await headed(page, 'Is this your device?');
    await page.context().close();
    const typist = await browser.person({ scripts: true });
    await typist.goto(terminal.asked.verification_uri_complete);
    await typeCode(typist, await toCode({ house, page: typist, user: 'dora' }));
    await headed(typist, 'Is this your device?');
    await typist.goto(terminal.asked.verification_uri);
    assert.ok(await isFocused(typist.getByLabel('Code')), 'the code can be typed at once');
    await typist.keyboard.type(terminal.asked.user_code);
    await typist.keyboard.press('Enter');
    await headed(typist, 'Is this your device?');
    await tabTo(typist, typist.getByRole('button', { name: 'Refuse' }));
    await typist.keyboard.press('Enter');
    await headed(typist, 'Refused');
    await browser.look(typist, 'device refused');
    assert.equal(await terminal.ended(), 1);
    await typist.context().close();
  });
}
