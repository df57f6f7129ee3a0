// Runs SQL on a trace in Perfetto's own trace_processor: node trace_processor.cjs DIRECTORY TRACE SQL...
// DIRECTORY has engine_bundle.js, which is made for a browser's worker, and trace_processor.wasm.
// Prints a line of JSON for each statement: its rows, each an array of its cells.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");
const [directory, trace, ...statements] = process.argv.slice(2);

// ---- protobuf: only what TraceProcessorRpc and QueryResult need ----------------

function varint(value) {
  const bytes = [];
  for (let left = BigInt(value); ; left >>= 7n) {
    if (left < 128n) return Buffer.from([...bytes, Number(left)]);
    bytes.push(Number(left & 127n) | 128);
  }
}
const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

function* fields(data) {
  for (let at = 0; at < data.length; ) {
    const read = () => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = data[at++];
        value |= BigInt(byte & 127) << shift;
        if (byte < 128) return value;
      }
    };
    const tag = Number(read());
    const kind = tag & 7;
    if (kind === 0) yield [tag >> 3, read()];
    else {
      const length = kind === 2 ? Number(read()) : kind === 1 ? 8 : 4;
      yield [tag >> 3, data.subarray(at, at + length)];
      at += length;
    }
  }
}
function* varints(data) {
  for (let at = 0; at < data.length; ) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) break;
    }
    yield Number(BigInt.asIntN(64, value));
  }
}

// ---- the worker -----------------------------------------------------------------

const replies = [];
let arrived = () => {};
const port = { onmessage: null, postMessage: (data) => (replies.push(Buffer.from(data)), arrived()) };
Object.assign(globalThis, {
  self: globalThis,
  location: { href: "http://localhost/engine_bundle.js" },
  WorkerGlobalScope: class {},
  XMLHttpRequest: class {
    open(_, name) { this.name = path.join(directory, path.basename(String(name))); }
    send() { this.response = new Uint8Array(fs.readFileSync(this.name)).buffer; }
  },
});
console.warn = () => {}; // it tells of its progress
// It refuses to run where it sees a ``process``, which is Node's.
vm.runInThisContext(`(process) => {${fs.readFileSync(path.join(directory, "engine_bundle.js"), "utf8")}\n}`)();
globalThis.onmessage({ data: port });

let sequence = 0;
function ask(method, argument) {
  const rpc = Buffer.concat([number(1, sequence++), number(2, method), ...(argument ? [argument] : [])]);
  const stream = bytes(1, rpc);
  port.onmessage({ data: new Uint8Array(stream) });
}

function rowsOf(stream) {
  let columns = 0;
  let last = false;
  const cells = [];
  for (const [, rpc] of fields(stream))
    for (const [field, value] of fields(rpc)) {
      if (field === 5) throw new Error(`trace_processor: ${value}`);
      if (field !== 203) continue;
      for (const [part, content] of fields(value)) {
        if (part === 1) columns += 1;
        if (part === 2) throw new Error(`trace_processor: ${content}`);
        if (part === 3) last = take(content, cells) || last;
      }
    }
  const rows = [];
  for (let at = 0; at < cells.length; at += columns) rows.push(cells.slice(at, at + columns));
  return [rows, last];
}

function take(batch, cells) {
  const kinds = [], whole = [], real = [], texts = [];
  let last = false;
  for (const [field, value] of fields(batch)) {
    if (field === 1) kinds.push(...varints(value));
    if (field === 2) whole.push(...varints(value));
    if (field === 3) for (let at = 0; at < value.length; at += 8) real.push(value.readDoubleLE(at));
    if (field === 5) texts.push(...value.toString().split("\0"));
    if (field === 6) last = value === 1n;
  }
  for (const kind of kinds)
    cells.push(kind === 2 ? whole.shift() : kind === 3 ? real.shift() : kind === 4 ? texts.shift() : null);
  return last;
}

async function answered(done) {
  while (!done()) await new Promise((resolve) => (arrived = resolve));
}

(async () => {
  await new Promise((resolve) => setTimeout(resolve, 0)); // what is instantiated is then initialized
  const content = fs.readFileSync(trace);
  let asked = 0;
  for (let at = 0; at < content.length; at += 1 << 20, asked++) ask(1, bytes(101, content.subarray(at, at + (1 << 20))));
  ask(2);
  await answered(() => replies.length >= asked + 1);
  for (const [, rpc] of fields(Buffer.concat(replies)))
    for (const [field, value] of fields(rpc))
      if (field === 201) for (const [part, error] of fields(value)) if (part === 2) throw new Error(String(error));
  for (const sql of statements) {
    replies.length = 0;
    ask(3, bytes(103, bytes(1, Buffer.from(sql))));
    await answered(() => rowsOf(Buffer.concat(replies))[1]);
    console.log(JSON.stringify(rowsOf(Buffer.concat(replies))[0]));
  }
  process.exit(0);
})().catch((error) => (console.error(String(error)), process.exit(1)));
