// People log in through the real gateway and a certified identity provider, in a real browser.
//
// Nothing leaves this machine. `make test-browser` installs what this needs and calls it. Arguments
// are names of walks: only those are gone. With SHOTS=folder, pictures of every page are kept there.
//
// The last line is `N passed, N failed`; the exit code is 1 when a step failed.
import assert from 'node:assert/strict';
import { Browser } from './browser.mjs';
import { House } from './house.mjs';
import { account } from './walks/account.mjs';
import { agent } from './walks/agent.mjs';
import { device } from './walks/device.mjs';
import { enterprise } from './walks/enterprise.mjs';
import { keyboard } from './walks/keyboard.mjs';
import { operator } from './walks/operator.mjs';
import { hurry, problems } from './walks/problems.mjs';
import { renewal } from './walks/renewal.mjs';

// What people do, each a list of steps. `hurry` is the last: after it, this address has to wait.
const WALKS = { agent, account, device, renewal, keyboard, operator, problems, enterprise, hurry };

const tally = { passed: 0, failed: 0 };

const step = (walk) => async (name, act) => {
  const start = performance.now();
  try {
    await act();
  } catch (error) {
    tally.failed += 1;
    console.log(`FAILED  ${walk}: ${name}\n${error.stack}`);
    throw new Stopped();
  }
  tally.passed += 1;
  console.log(`ok      ${walk}: ${name} (${((performance.now() - start) / 1000).toFixed(2)} s)`);
};

/** A step failed, and those after it build upon it. */
class Stopped extends Error {}

async function go(names) {
  const house = await House.open();
  try {
    const browser = await Browser.open(house, process.env.SHOTS);
    for (const name of names) {
      await WALKS[name](step(name), house, browser).catch((error) => {
        if (!(error instanceof Stopped)) throw error;
      });
    }
    await step('all')(`nothing asked of others, no complaint, ${browser.seen.size} pages looked at`, () => {
      assert.deepEqual(browser.complaints, []);
    }).catch(() => {});
    await step('all')('no secret gets out', () => assert.deepEqual(house.leaks(), [])).catch(() => {});
    await browser.close();
    if (tally.failed) console.log(`\nthe gateway's log:\n${house.gateway.log.join('\n')}`);
  } finally {
    await house.close();
  }
}

const only = process.argv.slice(2);
await go(Object.keys(WALKS).filter((name) => !only.length || only.includes(name)));
console.log(`\n${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed || !tally.passed ? 1 : 0;
