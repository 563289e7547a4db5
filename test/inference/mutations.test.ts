// Files that nobody wrote: changed states and changed adapters are refused with typed errors, or work.
// FAST_WEIGHTS_FUZZ_FILES=10000 asks for more of them.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { temporaryFolder } from '../io/folder';
import { Random } from '../fuzz/random';

const FILES = Number(process.env.FAST_WEIGHTS_FUZZ_FILES ?? 300);
const SEED = Number(process.env.FAST_WEIGHTS_FUZZ_SEED ?? 1);

type Json = Record<string, unknown>;
interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}
/** A safetensors file in parts. */
interface Parts {
  metadata: Record<string, string>;
  entries: Record<string, Entry>;
  data: Buffer;
}

function partsOf(bytes: Uint8Array): Parts {
  const file = Buffer.from(bytes);
  const end = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(file.subarray(8, end).toString()) as Json;
  return { metadata, entries, data: Buffer.from(file.subarray(end)) } as Parts;
}

function fileOf({ metadata, entries, data }: Parts): Buffer {
  const header = Buffer.from(JSON.stringify({ __metadata__: metadata, ...entries }));
  const padded = Buffer.concat([header, Buffer.alloc((8 - (header.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, data]);
}

const DTYPES: Record<string, string> = { F32: 'float32', I32: 'int32' };

/** So that what the checksum does not find must be found by what it says. */
function signed(parts: Parts): Parts {
  const { checksum: _, ...metadata } = parts.metadata;
  const hash = createHash('sha256');
  const text = (value: unknown): void => void hash.update(`${JSON.stringify(value)}\n`);
  const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);
  text(Object.entries(metadata).sort(byName));
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [from, to],
    },
  ] of Object.entries(parts.entries).sort(byName)) {
    text([name, DTYPES[dtype] ?? dtype, shape]);
    hash.update(parts.data.subarray(from, to));
  }
  return { ...parts, metadata: { ...metadata, checksum: hash.digest('hex') } };
}

const ODD = [
  '',
  '0',
  '-1',
  '1',
  '7',
  '1e3',
  '9007199254740993',
  'null',
  '[]',
  '{}',
  '{"state.x":5}',
  'NaN',
  '3 4',
  '\0',
];
const NUMBERS = [-1, 0, 1, 2, 3, 16, 1e9, 2 ** 31, 2 ** 53, 1.5];

const below = (random: Random, end: number): number => random.int(0, end - 1);

/** Changes one thing. */
function change(parts: Parts, random: Random): void {
  const { metadata, entries, data } = parts;
  const field = random.pick(Object.keys(metadata));
  const name = random.pick(Object.keys(entries));
  const entry = entries[name];
  const changes: (() => unknown)[] = [
    () => (metadata[field] = random.pick(ODD)),
    () => delete metadata[field],
    () => (metadata[random.pick(ODD)] = 'x'),
    () => delete entries[name],
    () => (entries[random.pick(['state.9', 'history', 'logits', 'sampler', 'x'])] = entry),
    () => (entry.dtype = random.pick(['F32', 'I32', 'F64', 'BF16', 'F16', 'I64', 'U8', 'X'])),
    () => (entry.shape[below(random, entry.shape.length + 1)] = random.pick(NUMBERS)),
    () => entry.shape.reverse(),
    () => (entry.data_offsets[below(random, 2)] += random.pick(NUMBERS)),
    () => data.writeUInt8(below(random, 256), below(random, data.length)),
    () => data.writeFloatLE(random.pick([NaN, Infinity, -1e38, 0]), 4 * below(random, data.length >> 2)),
    () =>
      data.writeInt32LE(random.pick(NUMBERS.filter((x) => Math.abs(x) < 2 ** 31)), 4 * below(random, data.length >> 2)),
  ];
  random.pick(changes)();
}

/** A file with some changes; not always with all of its bytes. */
function mutated(whole: Uint8Array, random: Random, sign: (parts: Parts) => Parts): Buffer {
  const parts = partsOf(whole);
  for (let n = random.pick([1, 1, 2, 3]); n > 0; n--) if (Object.keys(parts.entries).length > 0) change(parts, random);
  const file = fileOf(random.chance(0.8) ? sign(parts) : parts);
  if (random.chance(0.1)) return file.subarray(0, below(random, file.length));
  if (random.chance(0.1)) file.writeUInt8(below(random, 256), below(random, file.length));
  return file;
}

/** Of numbers that are none. */
const FAULT = /logit|NaN|finite/;

const bytesInUse = (): number => fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);

describe(`mutated files, ${FILES} of each kind`, function () {
  this.timeout(30_000 + FILES * 100);
  const inFolder = temporaryFolder();
  const sizes = {
    vocabSize: 23,
    hiddenSize: 16,
    numLayers: 1,
    numHeads: 2,
    initializerRange: 0.4,
    device: 'js' as const,
  };

  async function runs(session: fw.Session): Promise<void> {
    for await (const _ of session.generate(session.length > 0 ? [] : [1], { maxNewTokens: 3, stopTokens: [] }));
  }

  for (const family of ['gated-deltanet', 'transformer'] as const) {
    it(`states of ${family} are refused as FORMAT, or are gone on with`, async () => {
      using model = fw.withSeed(5, () => fw.createModel(family, sizes));
      const whole: Uint8Array[] = [];
      for (const history of [false, true]) {
        using session = model.createSession({ history });
        for await (const _ of session.generate([1, 2, 3], {
          maxNewTokens: 4,
          temperature: 1,
          seed: 1,
          stopTokens: [],
        }));
        using snapshot = session.snapshot();
        snapshot.note = history ? 'a note' : '';
        whole.push(await snapshot.toBytes());
      }
      const before = bytesInUse();
      let [refused, gone] = [0, 0];
      for (let i = 0; i < FILES; i++) {
        const random = new Random(SEED, i);
        const file = mutated(random.pick(whole), random, signed);
        try {
          using snapshot = await fw.Snapshot.fromBytes(file, model);
          using session = model.createSession({ history: true, from: snapshot });
          // What is in the tensors is nobody's to check: it may lead to logits that are none.
          await runs(session).catch((error: unknown) => {
            expect(error, `file ${i}`).to.be.instanceOf(fw.FastWeightsError).with.property('code', 'INVALID_ARGUMENT');
            expect((error as Error).message, `file ${i}`).to.match(FAULT);
          });
          gone++;
        } catch (error) {
          expect(error, `file ${i}: ${String(error)}`)
            .to.be.instanceOf(fw.FastWeightsError)
            .with.property('code', 'FORMAT');
          refused++;
        }
        // What other tests left may be collected meanwhile.
        expect(bytesInUse(), `file ${i}`).to.be.at.most(before);
      }
      expect(Math.min(refused, gone)).to.be.above(FILES / 50);
    });
  }

  it('adapters are refused with their reason, or are served', async () => {
    using model = fw.withSeed(5, () => fw.createModel('gated-deltanet', sizes));
    const dir = inFolder('adapter');
    using trained = fw.withSeed(5, () => fw.createModel('gated-deltanet', sizes));
    fw.nn.addLora(trained, { rank: 2, alpha: 4, targets: ['q_proj', 'o_proj'] });
    await fw.nn.saveLora(trained, dir);
    const [config, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) => path.join(dir, name));
    const [text, whole] = [readFileSync(config, 'utf8'), readFileSync(weights)];
    mkdirSync(dir, { recursive: true });
    const before = bytesInUse();
    let [refused, served] = [0, 0];
    for (let i = 0; i < FILES; i++) {
      const random = new Random(SEED, i);
      const settings = JSON.parse(text) as Json;
      const values = [
        null,
        0,
        -1,
        1.5,
        1e9,
        'x',
        '',
        [],
        {},
        ['q_proj', 5],
        true,
        false,
        'all-linear',
        { q_proj: 'x' },
      ];
      for (let n = below(random, 3); n > 0; n--) settings[random.pick(Object.keys(settings))] = random.pick(values);
      const json = JSON.stringify(settings);
      writeFileSync(config, random.chance(0.1) ? json.slice(0, below(random, json.length)) : json);
      writeFileSync(weights, random.chance(0.5) ? whole : mutated(whole, random, (parts) => parts));
      try {
        const adapted = await model.loadAdapter('fr', dir);
        using session = adapted.createSession();
        await runs(session).catch((error: unknown) => {
          expect((error as Error).message, `folder ${i}`).to.match(FAULT);
        });
        model.unloadAdapter('fr');
        served++;
      } catch (error) {
        expect(error, `folder ${i}: ${String(error)}`).to.be.instanceOf(fw.FastWeightsError);
        expect((error as fw.FastWeightsError).code, `folder ${i}: ${String(error)}`).to.be.oneOf([
          'FORMAT',
          'UNSUPPORTED',
          'IO',
        ]);
        refused++;
      }
      expect(model.adapterNames).to.eql([]);
      expect(bytesInUse(), `folder ${i}`).to.be.at.most(before);
    }
    expect(Math.min(refused, served)).to.be.above(FILES / 50);
  });
});
