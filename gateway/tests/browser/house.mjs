// Everything the browser and the SDK meet, each on a free port of loopback: the gateway, an identity
// provider, a model provider whose calls are taken down, and an authorization API.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const HERE = import.meta.dirname;
const TARGET = process.env.CARGO_TARGET_DIR ?? path.resolve(HERE, '../../../target');
const BINARIES = path.join(path.resolve(HERE, '../../..', TARGET), 'debug');
const PATIENCE = 20_000;

const CLIENT = 'turnpike-suite';
const SECRET = 'browser-suite-client-secret-0123456789';

/** What operators sign in with: for everything, and for looking. */
export const KEY = 'browser-suite-management-key-0123456789';
export const LOOKING = 'browser-suite-reading-key-0123456789';

// The client's secret, keys of operators, agent tokens, signed tokens, and the cookies by which people
// are known.
const SECRETS = [new RegExp(`${SECRET}|${KEY}|${LOOKING}`), /tp-[a-z0-9]{16}\.[\w-]{30,}/, /eyJ[\w-]{10,}\.eyJ/, /turnpike-(session|login|operator)=[\w.-]{20,}/];

// GitHub is there to be chosen from, and never asked.
const configuration = ({ ports, idp, models, authorization }) => `\
server: {port: ${ports.proxy}, drain: {lame_duck: -1}}
admin:
  port: ${ports.admin}
  keys:
    - {name: ops, key: ${KEY}}
    - {name: onlooker, key: ${LOOKING}, scopes: ["credentials:read", "tokens:read"]}
state: {path: browser.db}
agent_tokens: {argon2: {memory_kib: 1024, iterations: 1}}
sso:
  enabled: true
  providers:
    company: {label: Example Company, client_id: ${CLIENT}, client_secret: ${SECRET}, discovery_url: "${idp}", scopes: [openid, email, offline_access]}
    github: {client_id: suite, client_secret: ${SECRET}}
authorization: ${authorization}
roles: {user: {models: ["*"]}, operator: {permissions: ["admin:*"]}}
role_bindings: [{role: user, everyone: true}, {role: operator, users: [olga@example.com]}]
providers:
  openai: {base_url: "${models}/v1", credentials: [{api_key: sk-good}]}
  mistral:
    base_url: "${models}/v1"
    credentials:
      - {api_key: sk-mistral-a, label: team-a, quota: {limit: 200}}
      - {api_key: sk-mistral-b, label: team-b, priority: 2, quota: {limit: 1000}}
`;

export class House {
  static async open() {
    const house = new House();
    try {
      await house.start();
    } catch (error) {
      await house.close();
      throw error;
    }
    return house;
  }

  constructor() {
    this.directory = mkdtempSync(path.join(tmpdir(), 'turnpike-browser-'));
    this.clock = path.join(this.directory, 'clock');
    this.ahead = 0;
    this.programs = [];
    this.servers = [];
    /** The bodies that the model provider got. */
    this.calls = [];
    /** What the authorization API was asked. */
    this.questions = [];
  }

  async start() {
    const [proxy, admin, idp, fake] = await freePorts(4);
    this.ports = { proxy, admin };
    this.url = `http://127.0.0.1:${proxy}`;
    this.admin = `http://127.0.0.1:${admin}`;
    // Another site than the gateway's, as the browser sees it.
    this.idp = `http://localhost:${idp}`;
    this.advance(0);
    this.models = await this.serve(taken(`http://127.0.0.1:${fake}`, this.calls));
    this.api = await this.serve(judge(this.questions));
    this.configure('{mode: single_user}');
    const binary = (name) => path.join(BINARIES, name);
    const models = this.run(binary('fake-provider'), ['--listen', `127.0.0.1:${fake}`, '--always', 'sk-mistral-b=401']);
    const redirect = `${this.url}/auth/callback`;
    const provider = this.run(process.execPath, [path.join(HERE, 'idp.mjs'), idp, redirect, CLIENT, SECRET], this.moved());
    this.gateway = this.run(binary('turnpike'), ['--log-level', 'trace', '--config', this.file], this.moved());
    await Promise.all([models.line(/listen|serves/), provider.line(/serves/), this.gateway.line(/in force/)]);
  }

  /** What the gateway reads at its next start or reload. */
  configure(authorization) {
    this.file = path.join(this.directory, 'turnpike.yaml');
    replace(this.file, configuration({ ...this, authorization }));
  }

  async reconfigure(authorization) {
    const inForce = this.gateway.line(/configuration in force/);
    this.configure(authorization);
    this.gateway.process.kill('SIGHUP');
    await inForce;
  }

  /** Moves the clock of the gateway and of the identity provider on, while they run. */
  advance(minutes) {
    this.ahead += minutes;
    replace(this.clock, `+${this.ahead}m\n`);
  }

  /** At the identity provider, somebody takes back what they granted. */
  async withdraw(user) {
    const answer = await fetch(`${this.idp}/withdraw?user=${user}`, { method: 'POST' });
    if (answer.status !== 204) throw new Error(`not withdrawn: ${answer.status} ${await answer.text()}`);
  }

  /** Over the management API. */
  async manage(method, path, body) {
    const headers = { 'x-management-key': KEY };
    const answer = await fetch(`${this.admin}/v0/management${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  /** `turnpike login` in a home of its own; what there is to type, and how it ends. */
  async login(...flags) {
    const home = mkdtempSync(path.join(this.directory, 'home-'));
    const args = ['login', this.url, '--json', ...flags];
    const program = this.run(path.join(BINARIES, 'turnpike'), args, { HOME: home });
    const asked = JSON.parse(await program.line(/user_code/));
    const ended = () => program.ended.then(() => program.process.exitCode);
    return { home, asked, ended };
  }

  moved() {
    return {
      LD_PRELOAD: faketime(),
      FAKETIME_TIMESTAMP_FILE: this.clock,
      FAKETIME_NO_CACHE: '1',
      DONT_FAKE_MONOTONIC: '1',
    };
  }

  run(program, args, more = {}) {
    const { PATH, LANG = 'C.UTF-8' } = process.env;
    // Of the caller's environment, nothing that could send a call elsewhere.
    const env = { PATH, LANG, HOME: '/nonexistent', NO_PROXY: '*', ...more };
    const running = new Program(spawn(program, args, { cwd: this.directory, env, stdio: ['ignore', 'pipe', 'pipe'] }), path.basename(program));
    this.programs.push(running);
    return running;
  }

  async serve(answer) {
    const server = createServer(answer);
    this.servers.push(server);
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${server.address().port}`;
  }

  /** Secrets in the gateway's most verbose log, or in the files of its store. */
  leaks() {
    const kept = readdirSync(this.directory).filter((name) => name.startsWith('browser.db') && !name.endsWith('.key'));
    const files = kept.map((name) => path.join(this.directory, name)).filter((file) => statSync(file).isFile());
    const places = { log: this.gateway.log.join('\n') };
    for (const file of files) places[path.basename(file)] = readFileSync(file, 'latin1');
    const found = (text) => SECRETS.filter((secret) => secret.test(text));
    return Object.entries(places).flatMap(([place, text]) => found(text).map((secret) => `${secret} in the ${place}`));
  }

  async close() {
    await Promise.all(this.programs.map((program) => program.stop()));
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A process, and the lines that it writes. */
class Program {
  constructor(process, name) {
    Object.assign(this, { process, name, log: [], waiting: new Set() });
    this.ended = new Promise((done) => process.once('close', done));
    process.once('error', (error) => this.hear(String(error)));
    for (const stream of [process.stdout, process.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.hear(line));
    }
    this.ended.then(() => this.waiting.forEach((one) => one.fail(new Error(`${name} stopped:\n${this.log.join('\n')}`))));
  }

  hear(line) {
    this.log.push(line);
    for (const one of this.waiting) if (one.pattern.test(line)) one.found(line);
  }

  /** The next line that matches. */
  line(pattern, patience = PATIENCE) {
    const heard = new Promise((resolve, reject) => {
      const one = { pattern };
      const late = () => one.fail(new Error(`${this.name} did not write ${pattern}:\n${this.log.join('\n')}`));
      const timer = setTimeout(late, patience);
      const over = (then) => (value) => {
        clearTimeout(timer);
        this.waiting.delete(one);
        then(value);
      };
      Object.assign(one, { found: over(resolve), fail: over(reject) });
      this.waiting.add(one);
    });
    // Whoever asked may have failed before it awaited this.
    heard.catch(() => {});
    return heard;
  }

  async stop() {
    if (this.process.exitCode === null) this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 5000);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Passes calls on to the fake provider and takes their bodies down. */
const taken = (upstream, calls) => async (request, response) => {
  // A credential that failed is looked at by asking for models.
  const body = request.method === 'GET' ? undefined : await read(request);
  if (body) calls.push(body);
  const { authorization, 'content-type': type } = request.headers;
  const answer = await fetch(upstream + request.url, { method: request.method, headers: { authorization, 'content-type': type }, body });
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') });
  response.end(Buffer.from(await answer.arrayBuffer()));
};

/** The authorization API: Bob is not let in. */
const judge = (questions) => async (request, response) => {
  const question = JSON.parse(await read(request));
  questions.push(question);
  const authorized = question.user_email !== 'bob@example.com';
  const answer = authorized ? { authorized } : { authorized, reason: NO };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
};

export const NO = 'Your team has not been given access yet. Ask the platform team.';

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** All at once, so that none is given twice. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise((done) => server.listen(0, '127.0.0.1', done))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** At once: nobody reads half of it. */
function replace(file, text) {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Debian's libfaketime, in the folder of whatever architecture this is. */
function faketime() {
  for (const folder of readdirSync('/usr/lib')) {
    const place = `/usr/lib/${folder}/faketime`;
    try {
      if (readdirSync(place).includes('libfaketimeMT.so.1')) return `${place}/libfaketimeMT.so.1`;
    } catch {
      // Not a folder, or without it.
    }
  }
  throw new Error('libfaketime is missing: scripts/prepare browser');
}
