import assert from 'node:assert/strict';
import { NO } from '../house.mjs';
import { headed, logIn, text } from '../pages.mjs';

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
