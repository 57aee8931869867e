// The agent: the official SDK, and what it is told.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const model = 'gpt-4o-mini';

/** What the fake provider says. */
export const ANSWER = 'Hello from the fake provider.';
export const asked = (content) => ({ role: 'user', content });
export const answered = (content) => ({ role: 'assistant', content });

export async function say(house, apiKey, messages) {
  const client = new OpenAI({ baseURL: `${house.url}/v1`, apiKey, timeout: 20_000 });
  const answer = await client.chat.completions.create({ model, messages });
  return answer.choices[0].message.content;
}

/** The page that an answer asks to open. */
export function linkIn(said, house) {
  const [link] = said.match(/http:\S+\/auth\/login\?token=\S+/) ?? [];
  assert.ok(link?.startsWith(house.url), said);
  return link;
}

/** Asks until the answer is another: what is waited for has no news of its own. */
export async function until(ask, isEnough, deadline = Date.now() + 15_000) {
  const answer = await ask();
  if (isEnough(answer) || Date.now() > deadline) return answer;
  await new Promise((done) => setTimeout(done, 50));
  return until(ask, isEnough, deadline);
}
