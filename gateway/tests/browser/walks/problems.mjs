import assert from 'node:assert/strict';
import { codeIn, headed, logIn, text, typeCode, wrong } from '../pages.mjs';

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
    const code = codeIn(await line);
    for (const left of [2, 1]) {
      await typeCode(page, wrong(code));
      await page.getByText(`${left} attempts remaining`).waitFor();
    }
    await typeCode(page, 'not a code');
    await headed(page, 'Maximum attempts exceeded');
    await browser.look(page, 'too many codes');
  });
  await page.context().close();
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
