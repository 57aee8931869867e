// What a person reads and does on the pages.
import assert from 'node:assert/strict';

/** What the page says, as a person reads it. */
export const text = (page) => page.locator('main').innerText();

/** Asserts the page's heading and its title. */
export async function headed(page, heading) {
  await page.getByRole('heading', { level: 1, name: heading, exact: true }).waitFor();
  assert.equal(await page.title(), `${heading} · Turnpike`);
}

/** At the identity provider: who one is, where it asks, and yes. */
export async function logIn(page, user, answer = 'Allow') {
  await page.getByLabel('User').fill(user);
  await page.getByLabel('Password').fill('any');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('button', { name: answer }).click();
}

/** From the chooser on, to the page that asks for a code; the code that the gateway wrote to its log. */
export async function toCode({ house, page, user, answer }) {
  await page.getByRole('link', { name: 'Continue with Example Company' }).click();
  const line = house.gateway.line(/Confirmation Code/);
  await logIn(page, user, answer);
  const code = codeIn(await line);
  await headed(page, 'Confirm it is you');
  return code;
}

export const codeIn = (line) => line.match(/Confirmation Code: (\d{6})\b/)[1];

export async function typeCode(page, code) {
  await page.getByLabel('Code').fill(code);
  await page.getByRole('button', { name: 'Confirm' }).click();
}

/** Another one. */
export const wrong = (code) => (code === '123456' ? '654321' : '123456');

/** A whole login, from the chooser on. */
export async function signIn({ house, page, user = 'ada', answer }) {
  await typeCode(page, await toCode({ house, page, user, answer }));
  await headed(page, 'You are signed in');
}

/** Makes a token, which is then shown. */
export async function makeToken(page, name) {
  await page.getByLabel('Name of the agent or device').fill(name);
  await page.getByRole('button', { name: 'Make token' }).click();
  await headed(page, 'Your new agent token');
  return page.getByLabel('Token', { exact: true }).inputValue();
}
