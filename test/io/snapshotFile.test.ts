// Snapshots in files: read in another process, and refused where anything is not as it was written.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import * as fw from '../../lib';
import { runSource } from '../support/child';
import { expectRejection } from '../support/errors';
import { temporaryFolder } from './folder';
import { collectGarbage } from '../support/garbage';

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, initializerRange: 0.4 };
type Model = fw.models.CausalLM;

async function ids(tokens: AsyncIterable<fw.GeneratedToken>): Promise<number[]> {
  const found: number[] = [];
  for await (const { id } of tokens) found.push(id);
  return found;
}

/** A file of its own making: header, then bytes. */
function write(file: string, header: unknown, data: Uint8Array): void {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, data]));
}

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
type Header = Record<string, Entry> & {
  __metadata__: Record<string, string>;
};

/** The tensors of a file. */
function entriesOf({ __metadata__: _, ...tensors }: Header): [string, Entry][] {
  return Object.entries(tensors as Record<string, Entry>);
}

function parse(file: string): { header: Header; data: Buffer } {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  return { header: JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Header, data: bytes.subarray(8 + length) };
}

/** The checksum that a file has to have, so that its other faults are looked at. */
function sign(header: Header, data: Buffer): void {
  const { __metadata__: metadata, ...tensors } = header;
  const { checksum: _, ...rest } = metadata;
  const hash = createHash('sha256');
  const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);
  hash.update(`${JSON.stringify(Object.entries(rest).sort(byName))}\n`);
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(tensors).sort(byName)) {
    const ours = { F32: 'float32', I32: 'int32' }[dtype];
    hash.update(`${JSON.stringify([name, ours, shape])}\n`).update(data.subarray(...at));
  }
  metadata.checksum = hash.digest('hex');
}

describe('snapshots in files', () => {
  const inFolder = temporaryFolder();
  let file: string;
  let model: Model;

  /** A conversation of 5 tokens, 2 of them the model's own, and its file. */
  async function saved(of: Model, options: fw.SessionOptions = { history: true }): Promise<fw.Session> {
    const session = of.createSession(options);
    await ids(session.generate([1, 2, 3], { maxNewTokens: 2 }));
    using snapshot = session.snapshot();
    await snapshot.save(file);
    return session;
  }

  before(() => {
    file = inFolder('a.safetensors');
    fw.manualSeed(8);
    model = fw.createModel('deltanet', { ...sizes, device: 'js' });
  });
  after(() => model.dispose());

  for (const device of available) {
    for (const { name } of fw.models.modelFamilies) {
      it(`${name} on ${device}: goes on with the same bits, and back`, async () => {
        fw.manualSeed(9);
        const model = fw.createModel(name, { ...sizes, device });
        using session = await saved(model);
        using snapshot = await fw.Snapshot.load(file, model);
        expect([snapshot.length, snapshot.batch]).to.eql([5, 1]);
        using other = model.createSession({ history: true });
        other.restore(snapshot);
        const options = { maxNewTokens: 5, temperature: 1, seed: 3 };
        for (const n of [0, 4]) {
          await Promise.all([session.rollback(n), other.rollback(n)]);
          const [expected, found] = [session, other].map((each) => ids(each.generate([4], options)));
          expect(await found).to.deep.equal(await expected);
        }
        model.dispose();
      });
    }
  }

  for (const name of ['ttt-linear', 'titans'] as const) {
    it(`${name} behind its first chunk`, async () => {
      using model = fw.createModel(name, { ...sizes, device: 'js' });
      using session = model.createSession();
      session.feed(Array.from({ length: 70 }, (_, i) => i % 23)).dispose();
      using snapshot = session.snapshot();
      await snapshot.save(file);
      using loaded = await fw.Snapshot.load(file, model);
      using other = model.createSession();
      other.restore(loaded);
      const [expected, found] = [session, other].map((each) => ids(each.generate([4], { maxNewTokens: 4 })));
      expect(await found).to.deep.equal(await expected);
    });
  }

  it('in another process, with the weights from a folder', async () => {
    using session = await saved(model);
    await model.savePretrained(inFolder('model'));
    const { stdout, stderr } = await runSource(`(async () => {
      const model = await fw.AutoModelForCausalLM.fromPretrained(${JSON.stringify(inFolder('model'))}, { device: 'js' });
      const snapshot = await fw.Snapshot.load(${JSON.stringify(file)}, model);
      const session = model.createSession();
      session.restore(snapshot);
      const ids = [];
      for await (const { id } of session.generate([4], { maxNewTokens: 6 })) ids.push(id);
      console.log(JSON.stringify([session.length, ids]));
    })();`);
    const found = JSON.parse(stdout || `"${stderr}"`) as unknown;
    expect(found).to.deep.equal([12, await ids(session.generate([4], { maxNewTokens: 6 }))]);
  });

  it('go on with an empty prompt, and name what is wrong with a path or a model', async () => {
    using session = model.createSession();
    session.feed([1, 2, 3]).dispose();
    using snapshot = session.snapshot();
    await snapshot.save(file);
    using loaded = await fw.Snapshot.load(file, model);
    using other = model.createSession();
    other.restore(loaded);
    const [expected, found] = [session, other].map((each) => ids(each.generate([], { maxNewTokens: 4 })));
    expect(await found).to.deep.equal(await expected);
    for (const path of [undefined, 5, '', 'a\0b'] as string[]) {
      await expectRejection('INVALID_ARGUMENT', /path must be/, snapshot.save(path));
      await expectRejection('INVALID_ARGUMENT', /path must be/, fw.Snapshot.load(path, model));
    }
    for (const of of [undefined, null, {}, 'deltanet'] as unknown as Model[]) {
      await expectRejection('INVALID_ARGUMENT', /model must be/, fw.Snapshot.load(file, of));
    }
  });

  it('of several sequences, of none, and without a history', async () => {
    for (const name of ['deltanet', 'transformer', 'lstm'] as const) {
      const model = fw.createModel(name, { ...sizes, device: 'js' });
      for (const tokens of [0, 3]) {
        using session = model.createSession({ batch: 2 });
        const given = fw.tensor([Array(tokens).fill(1), Array(tokens).fill(2)], {
          dtype: 'int32',
          device: 'js',
          shape: [2, tokens],
        });
        if (tokens > 0) session.feed(given).dispose();
        using snapshot = session.snapshot();
        await snapshot.save(file);
        using again = await fw.Snapshot.load(file, model);
        expect([again.length, again.batch]).to.eql([tokens, 2]);
        session.restore(again);
        await expectRejection(
          'FORMAT',
          /model must be/,
          fw.Snapshot.load(file, fw.createModel('gla', { ...sizes, device: 'js' })),
        );
      }
      model.dispose();
    }
  });

  it('with a note, which goes with copies and into files', async () => {
    using session = await saved(model);
    using snapshot = session.snapshot();
    expect(snapshot.note).to.equal('');
    const note = `"é\n${'x'.repeat(4092)}`;
    snapshot.note = note;
    await snapshot.save(file);
    expect(parse(file).header.__metadata__).to.include({ version: '3', note });
    using loaded = await fw.Snapshot.load(file, model);
    using again = await fw.Snapshot.fromBytes(await loaded.toBytes(), model);
    using store = new fw.MemoryStore({ maxBytes: 2 ** 20 });
    await store.set('a', again);
    using kept = (await store.get('a'))!;
    expect([loaded.note, again.note, kept.note]).to.eql([note, note, note]);
    loaded.note = '';
    await loaded.save(file);
    expect(parse(file).header.__metadata__).to.include({ version: '2' }).and.not.to.have.property('note');
    for (const wrong of ['x'.repeat(4097), 5, null] as string[]) {
      expect(() => (snapshot.note = wrong))
        .to.throw(fw.FastWeightsError, /note must be/)
        .with.property('code', 'INVALID_ARGUMENT');
    }
    expect(snapshot.note).to.equal(note);
  });

  it('every bit counts', async () => {
    await saved(model);
    const bytes = readFileSync(file);
    for (let i = 0; i < bytes.length; i += i < 2500 ? 3 : 97) {
      const changed = Buffer.from(bytes);
      changed[i] ^= 1 << (i % 8);
      writeFileSync(file, changed);
      await expectRejection('FORMAT', /./, fw.Snapshot.load(file, model));
    }
    for (const length of [0, 7, 8, 100, bytes.length - 1]) {
      writeFileSync(file, bytes.subarray(0, length));
      await expectRejection('FORMAT', /./, fw.Snapshot.load(file, model));
    }
    writeFileSync(file, Buffer.concat([bytes, Buffer.alloc(4)]));
    await expectRejection('FORMAT', /./, fw.Snapshot.load(file, model));
  });

  it('hostile files with the right checksum are refused, and nothing is left of them', async () => {
    const llama = fw.createModel('transformer', { ...sizes, device: 'js' });
    const lstm = fw.createModel('lstm', { ...sizes, device: 'js' });
    const bytesOf = (): number => fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);
    await collectGarbage();
    const bytes = bytesOf();
    const changes: [string, Model, (header: Header, numbers: Record<string, unknown>) => void][] = [
      ['another version', model, ({ __metadata__: m }) => (m.version = '4')],
      ['a note that is missing', model, ({ __metadata__: m }) => (m.version = '3')],
      ['a note in a version without', model, ({ __metadata__: m }) => (m.note = 'x')],
      [
        'a note that is too long',
        model,
        ({ __metadata__: m }) => Object.assign(m, { version: '3', note: 'x'.repeat(4097) }),
      ],
      ['the version before with the fields of this one', model, ({ __metadata__: m }) => (m.version = '1')],
      ['another format', model, ({ __metadata__: m }) => (m.format = 'x')],
      ['a huge batch', model, ({ __metadata__: m }) => ((m.batch = '9007199254740991'), (m.said = ''))],
      ['a batch that the ids are not of', model, ({ __metadata__: m }) => ((m.batch = '3'), (m.said = ''))],
      ['a batch of NaN', model, ({ __metadata__: m }) => (m.batch = 'NaN')],
      ['fewer tokens', model, ({ __metadata__: m }) => (m.tokens = '3')],
      ['tokens of NaN', model, ({ __metadata__: m }) => (m.tokens = 'NaN')],
      ['an id outside', model, ({ __metadata__: m }) => (m.said = '23')],
      ['an unknown key', model, ({ __metadata__: m }) => (m.more = '')],
      ['a missing key', model, ({ __metadata__: m }) => delete m.said],
      ['a tensor of another shape', model, (header) => header['state.0.memory'].shape.reverse()],
      ['a tensor of another dtype', model, (header) => (header['state.0.memory'].dtype = 'I32')],
      [
        'an unknown tensor',
        model,
        (header) => {
          header.x = header['state.0.memory'];
          delete header['state.0.memory'];
        },
      ],
      ['a position that is none', model, (_, numbers) => (numbers['state.0.position'] = NaN)],
      ['a position before the end of the text', model, (_, numbers) => (numbers['state.0.position'] = 0)],
      [
        'an empty cache',
        llama,
        (_, numbers) => Object.assign(numbers, { 'state.0.start': 0, 'state.0.end': 0, 'state.0.position': 4 }),
      ],
      ['logits of another width', model, (header) => (header.logits.shape = [23, 1])],
      ['a list of numbers', lstm, ({ __metadata__: m }) => (m.numbers = '[1]')],
      ['text for numbers', lstm, ({ __metadata__: m }) => (m.numbers = '"none"')],
      ['a position beyond the text', model, (_, numbers) => (numbers['state.1.position'] = 1e300)],
      ['a number that is missing', model, (_, numbers) => delete numbers['state.0.position']],
      ['a cache that ends before it begins', llama, (_, numbers) => (numbers['state.0.start'] = 4)],
      ['a dtype that there is not', model, ({ __metadata__: m }) => (m.dtype = 'float16')],
      ['numbers of a sampler without its ids', model, (header) => delete header.sampler],
      ['ids of a sampler without its numbers', model, ({ __metadata__: m }) => (m.sampler = '')],
      ['a sampler that is none', model, ({ __metadata__: m }) => (m.sampler = '[1]')],
      ['a sampler of several sequences', model, ({ __metadata__: m }) => ((m.batch = '5'), (m.said = ''))],
      ...['seed', 'stream', 'position', 'prompt'].flatMap((name) =>
        [-1, 1.5, 2 ** 53].map((value): [string, Model, (header: Header) => void] => [
          `a sampler with ${name} ${value}`,
          model,
          ({ __metadata__: m }) => {
            m.sampler = JSON.stringify({ ...(JSON.parse(m.sampler) as object), [name]: value });
          },
        ]),
      ),
      [
        'more random numbers than tokens',
        model,
        ({ __metadata__: m }) => (m.sampler = m.sampler.replace('"position":0', '"position":3')),
      ],
      ['no numbers', model, ({ __metadata__: m }) => (m.numbers = '[]')],
    ];
    for (const [what, of, change] of changes) {
      (await saved(of, { history: what !== 'a huge batch' })).dispose();
      const { header, data } = parse(file);
      const numbers = JSON.parse(header.__metadata__.numbers) as Record<string, unknown>;
      const before = header.__metadata__.numbers;
      if (what === 'a cache that ends before it begins') numbers['state.0.end'] = 3;
      change(header, numbers);
      if (header.__metadata__.numbers === before) header.__metadata__.numbers = JSON.stringify(numbers);
      sign(header, data);
      write(file, header, data);
      await expectRejection(
        'FORMAT',
        /./,
        fw.Snapshot.load(file, of).then(() => expect.fail(what)),
      );
      expect(bytesOf(), what).to.equal(bytes);
    }
    // The signature of this test is that of the library: a file that was only signed anew is read.
    (await saved(model)).dispose();
    const { header, data } = parse(file);
    sign(header, data);
    write(file, header, data);
    (await fw.Snapshot.load(file, model)).dispose();
    const huge = Buffer.alloc(16, 0x20);
    huge.writeBigUInt64LE(2n ** 62n);
    writeFileSync(file, huge);
    await expectRejection('FORMAT', /header length/, fw.Snapshot.load(file, model));
    await expectRejection('IO', /no such file/i, fw.Snapshot.load(inFolder('none'), model));
    llama.dispose();
    lstm.dispose();
  });

  it('with numbers that only the next token would find wrong are refused', async () => {
    const far = 2 ** 31;
    const behindTokens = (numbers: Record<string, unknown>): void => {
      for (const name of Object.keys(numbers)) if (name.endsWith('position')) numbers[name] = far;
    };
    const cases: [fw.ModelName, (header: Header, numbers: Record<string, unknown>) => void, RegExp][] = [
      ['ttt-linear', (_, numbers) => (numbers['state.1.inChunk'] = 17), /from 0 to 15, got 17/],
      ['titans', (_, numbers) => (numbers['state.0.inChunk'] = 64), /from 0 to 63, got 64/],
      [
        'log-linear-mamba2',
        ({ __metadata__: m }, numbers) => {
          m.tokens = String(far);
          numbers['state.0.positions.0'] = far;
        },
        /position must be/,
      ],
      ...(['retnet', 'transformer', 'hqlt'] as const).map(
        (name): [fw.ModelName, (header: Header, numbers: Record<string, unknown>) => void, RegExp] => [
          name,
          ({ __metadata__: m }, numbers) => {
            m.tokens = String(far);
            behindTokens(numbers);
          },
          /offset must be/,
        ],
      ),
    ];
    for (const [name, change, expected] of cases) {
      using model = fw.createModel(name, { ...sizes, device: 'js' });
      using session = model.createSession();
      session.feed(Array.from({ length: 70 }, (_, i) => i % 23)).dispose();
      using snapshot = session.snapshot();
      await snapshot.save(file);
      const { header, data } = parse(file);
      const numbers = JSON.parse(header.__metadata__.numbers) as Record<string, unknown>;
      change(header, numbers);
      header.__metadata__.numbers = JSON.stringify(numbers);
      sign(header, data);
      write(file, header, data);
      const before = fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);
      await expectRejection(
        'FORMAT',
        expected,
        fw.Snapshot.load(file, model).then(() => expect.fail(name)),
      );
      expect(
        fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0),
        name,
      ).to.equal(before);
    }
    // One that does not count positions goes on for ever.
    const { header, data } = await (async () => {
      (await saved(model, {})).dispose();
      return parse(file);
    })();
    const numbers = JSON.parse(header.__metadata__.numbers) as Record<string, unknown>;
    behindTokens(numbers);
    Object.assign(header.__metadata__, { tokens: String(far), numbers: JSON.stringify(numbers) });
    sign(header, data);
    write(file, header, data);
    using loaded = await fw.Snapshot.load(file, model);
    expect(loaded.length).to.equal(far + 1);
  });

  it('of the first version, which has no sampler and no dtype, are read', async () => {
    using session = await saved(model);
    const { header, data } = parse(file);
    const { offset, size } = { offset: header.sampler.data_offsets[0], size: 4 * 5 };
    delete header.sampler;
    for (const [, entry] of entriesOf(header)) {
      if (entry.data_offsets[0] > offset)
        entry.data_offsets = entry.data_offsets.map((at) => at - size) as [number, number];
    }
    const { sampler: _, dtype: __, ...first } = header.__metadata__;
    header.__metadata__ = { ...first, version: '1' };
    const rest = Buffer.concat([data.subarray(0, offset), data.subarray(offset + size)]);
    sign(header, rest);
    write(file, header, rest);
    using snapshot = await fw.Snapshot.load(file, model);
    using other = model.createSession({ history: true });
    other.restore(snapshot);
    expect(() => other.generate([], { resume: true })).to.throw(/resume must be left out/);
    const [expected, found] = [session, other].map((each) => ids(each.generate([4], { maxNewTokens: 4 })));
    expect(await found).to.deep.equal(await expected);
  });

  for (const device of available) {
    it(`half as large with bfloat16 on ${device}, with logits that are nearly the same`, async () => {
      for (const name of ['deltanet', 'transformer', 'gated-deltanet'] as const) {
        const model = fw.createModel(name, { ...sizes, device });
        using session = await saved(model);
        using snapshot = session.snapshot();
        const exact = parse(file);
        await snapshot.save(file, { dtype: 'bfloat16' });
        const { header, data } = parse(file);
        const stored = entriesOf(header).filter(([name]) => name.startsWith('state'));
        const half = stored.reduce((sum, [, { data_offsets: at }]) => sum + at[1] - at[0], 0);
        expect(exact.data.length - data.length).to.equal(half);
        using loaded = await fw.Snapshot.load(file, model);
        using other = model.createSession({ history: true });
        other.restore(loaded);
        const [a, b] = [session, other].map((each) => {
          using logits = each.feed([4]);
          return Array.from(logits.dataSync());
        });
        expect(a).not.to.deep.equal(b);
        const size = (x: number[]): number => Math.hypot(...x);
        expect(size(a.map((x, i) => x - b[i])) / size(a)).to.be.below(0.1);
        model.dispose();
      }
      using session = await saved(model);
      using snapshot = session.snapshot();
      for (const dtype of ['float16', 'float32', 5] as never[]) {
        await expectRejection('INVALID_ARGUMENT', /dtype must be/, snapshot.save(file, { dtype }));
      }
    });
  }

  it('one of a larger vocabulary, width or depth is refused when it is restored', async () => {
    using session = model.createSession();
    for (const change of [{ vocabSize: 40 }, { numLayers: 1 }, { hiddenSize: 32 }]) {
      const other = fw.createModel('deltanet', { ...sizes, ...change, device: 'js' });
      using from = await saved(other);
      using snapshot = from.snapshot();
      expect(() => session.restore(snapshot))
        .to.throw(fw.FastWeightsError)
        .with.property('argument', 'snapshot');
      await expectRejection('FORMAT', /model must be/, fw.Snapshot.load(file, model));
      other.dispose();
    }
  });
});
