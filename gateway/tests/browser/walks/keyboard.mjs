import assert from 'node:assert/strict';
import { codeIn, headed } from '../pages.mjs';

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
    const code = codeIn(await line);
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

export const isFocused = (locator) => locator.evaluate((one) => one === document.activeElement);

/** Presses Tab until the element has the focus, which must show. */
export async function tabTo(page, locator) {
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
