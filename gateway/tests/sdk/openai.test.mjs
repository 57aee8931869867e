// The OpenAI SDK for Node.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';

const { SDK_SUITE_URL: url, SDK_SUITE_KEY: key, SDK_SUITE_WRONG_KEY: wrong, SDK_SUITE_TEXT: text } = process.env;
const client = (apiKey = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey, timeout: 20_000 });
const model = 'gpt-4o-mini';
const messages = [{ role: 'user', content: 'Hello?' }];

test('chat', async () => {
  const answer = await client().chat.completions.create({ model, messages });
  assert.equal(answer.choices[0].message.content, text);
  assert.ok(answer.usage.total_tokens > 0);
});

test('streamed chat', async () => {
  const stream = await client().chat.completions.create({ model, messages, stream: true });
  let heard = '';
  for await (const chunk of stream) heard += chunk.choices[0]?.delta?.content ?? '';
  assert.equal(heard, text);
});

test('responses', async () => {
  const answer = await client().responses.create({ model, input: 'Hello?' });
  assert.equal(answer.output_text, text);
});

test('streamed responses', async () => {
  const stream = await client().responses.create({ model, input: 'Hello?', stream: true });
  let heard = '';
  for await (const event of stream) if (event.type === 'response.output_text.delta') heard += event.delta;
  assert.equal(heard, text);
});

test('embeddings', async () => {
  const answer = await client().embeddings.create({ model: 'text-embedding-3-small', input: ['one', 'two'] });
  assert.equal(answer.data.length, 2);
  assert.equal(typeof answer.data[0].embedding[0], 'number');
});

test('models', async () => {
  const names = [];
  for await (const one of client().models.list()) names.push(one.id);
  assert.ok(names.includes('gpt-4o'), names.join());
  assert.equal((await client().models.retrieve('gpt-4o')).id, 'gpt-4o');
});

test('a wrong key is told at once', async () => {
  const start = performance.now();
  await assert.rejects(client(wrong).chat.completions.create({ model, messages }), OpenAI.AuthenticationError);
  assert.ok(performance.now() - start < 5000);
});

test('an unknown model is told at once', async () => {
  await assert.rejects(client().chat.completions.create({ model: 'no-such-model', messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /no-such-model/);
    return true;
  });
});
