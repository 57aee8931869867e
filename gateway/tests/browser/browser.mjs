// Chromium, and what is asked of every page that it sees.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 320, height: 640 };
const PATIENCE = 15_000;

export class Browser {
  /** `shots` is a folder for pictures of every page, for people to look at. */
  static async open(house, shots) {
    const program = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: [
        '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ],
    });
    const browser = new Browser();
    Object.assign(browser, { house, program, shots, seen: new Set(), complaints: [] });
    // Axe needs scripts, which the pages' own policy forbids.
    browser.inspector = await program.newContext({ bypassCSP: true });
    browser.inspected = await browser.inspector.newPage();
    if (shots) mkdirSync(shots, { recursive: true });
    return browser;
  }

  /** Somebody's browser, new and empty. Without `scripts`, JavaScript is off. */
  async person({ scripts = false } = {}) {
    const context = await this.program.newContext({ javaScriptEnabled: scripts, viewport: WIDE });
    context.setDefaultTimeout(PATIENCE);
    this.watch(context);
    return context.newPage();
  }

  /** Nothing is asked of others, and a page has nothing to complain about. */
  watch(context) {
    const ours = [this.house.url, this.house.admin, this.house.idp].map((url) => new URL(url).host);
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && !ours.includes(url.host)) this.complaints.push(`asked ${url}`);
    });
    context.on('console', (message) => {
      // A page with a status of 400 is meant so; what it loads is not.
      const isPage = message.text().startsWith('Failed to load resource') && message.location().url === message.page()?.url();
      if (!isPage) this.complaints.push(`${message.type()} at ${message.page()?.url()}: ${message.text()}`);
    });
    context.on('weberror', (error) => this.complaints.push(String(error.error())));
    context.on('requestfailed', (request) => {
      const why = request.failure()?.errorText;
      // A page that sends its browser on is left before its icon has come.
      const isLeft = why === 'net::ERR_ABORTED' && request.url().endsWith('/icon.svg');
      if (!isLeft) this.complaints.push(`${request.url()}: ${why}`);
    });
  }

  /** Has the page as it stands looked at, wide and narrow, in light and in dark, with all unfolded. */
  async look(page, name) {
    await this.inspect(page.url(), await page.content(), name);
  }

  /** The same of a page that was kept, such as one that leads on at once. */
  async inspect(address, body, name) {
    this.seen.add(name);
    const url = address.split('#')[0];
    const { inspected } = this;
    await inspected.route(url, (route) => route.fulfill({ body, contentType: 'text/html; charset=utf-8' }));
    await inspected.goto(url);
    await inspected.unroute(url);
    await inspected.evaluate(AXE);
    await this.judge(name, ['light', 'dark']);
    await inspected.evaluate(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
    if (await inspected.locator('details').count()) await this.judge(`${name}, unfolded`, ['light', 'dark']);
  }

  async judge(name, schemes) {
    const { inspected } = this;
    for (const colorScheme of schemes) {
      await inspected.emulateMedia({ colorScheme });
      for (const size of [WIDE, NARROW]) {
        await inspected.setViewportSize(size);
        const at = `${name}, ${colorScheme}, ${size.width} px`;
        const { violations } = await inspected.evaluate(() => globalThis.axe.run());
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
        assert.deepEqual(found, [], `axe, ${at}`);
        const width = await inspected.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= size.width, `${at}: ${width} px of content`);
        if (this.shots) await inspected.screenshot({ path: path.join(this.shots, `${at.replaceAll(', ', '-')}.png`), fullPage: true });
      }
    }
  }

  close() {
    return this.program.close();
  }
}
