// `generate` with `resume`: a generation that was broken off draws the tokens that it would have drawn.
import { expect } from 'chai';
import * as fw from '../../lib';
import { temporaryFolder } from '../io/folder';
import { expectError } from '../support/errors';

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 1, numHeads: 2, initializerRange: 0.4 };

async function take(tokens: AsyncIterable<fw.GeneratedToken>, most = Infinity): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of tokens) if (ids.push(id) === most) break;
  return ids;
}

const SAMPLING: Record<string, fw.GenerateOptions> = {
  temperature: { temperature: 1.5 },
  penalties: { temperature: 1, repetitionPenalty: 1.5, presencePenalty: 0.3, frequencyPenalty: 0.7 },
  greedy: { repetitionPenalty: 2, frequencyPenalty: 1 },
  // Forbids what came last but one, of the prompt, too.
  processors: {
    temperature: 2,
    logitProcessors: [(logits, ids) => (logits[ids[ids.length - 2]] = -Infinity)],
  },
};

for (const device of available) {
  describe(`a generation on ${device} that is resumed`, () => {
    const inFolder = temporaryFolder();
    let model: fw.models.CausalLM;
    before(() => {
      fw.manualSeed(8);
      model = fw.createModel('deltanet', { ...sizes, device });
    });
    after(() => model.dispose());

    for (const [what, sampling] of Object.entries(SAMPLING)) {
      it(`goes on as if it had not ended: with ${what}`, async () => {
        const prompt = [3, 4, 5, 3];
        const whole = { ...sampling, seed: 11, maxNewTokens: 12 };
        using unbroken = model.createSession();
        const expected = await take(unbroken.generate(prompt, whole));
        const rest = expected.slice(5);
        using session = model.createSession();
        let snapshot: fw.Snapshot | undefined;
        const begun: number[] = [];
        for await (const { id } of session.generate(prompt, whole)) {
          begun.push(id);
          if (begun.length === 5) snapshot = session.snapshot();
          // The snapshot is that of the fifth token, whatever came after it.
          if (begun.length === 8) break;
        }
        expect(begun).to.deep.equal(expected.slice(0, 8));
        using fork = session.fork();
        const file = inFolder('a.safetensors');
        await snapshot!.save(file);
        using loaded = await fw.Snapshot.load(file, model);
        for (const from of [snapshot!, loaded, snapshot!]) {
          using other = model.createSession();
          other.restore(from);
          // In two parts, the second of which goes on with the first.
          const first = await take(other.generate([], { ...sampling, resume: true, maxNewTokens: 3 }));
          const second = await take(other.generate([], { ...sampling, resume: true, maxNewTokens: 4 }));
          expect([...first, ...second]).to.deep.equal(rest);
        }
        for (const each of [session, fork]) {
          expect(await take(each.generate([], { ...sampling, resume: true, maxNewTokens: 4 }))).to.deep.equal(
            expected.slice(8),
          );
        }
        snapshot!.dispose();
      });
    }

    it('without a seed, too: its random numbers are those of manualSeed at its call', async () => {
      const sampling = { temperature: 2 };
      const begin = (): AsyncGenerator<fw.GeneratedToken> => {
        fw.manualSeed(4);
        return model.createSession().generate([1], { ...sampling, maxNewTokens: 9 });
      };
      const expected = await take(begin());
      fw.manualSeed(4);
      using session = model.createSession();
      await take(session.generate([1], { ...sampling, maxNewTokens: 4 }));
      fw.manualSeed(99);
      expect(await take(session.generate([], { ...sampling, resume: true, maxNewTokens: 5 }))).to.deep.equal(
        expected.slice(4),
      );
    });

    it('gives text that follows on what was generated', async () => {
      const bytes = fw.createModel('deltanet', { ...sizes, vocabSize: 256, device });
      const tokenizer = fw.byteTokenizer();
      const options = { tokenizer, logitProcessors: [alternate] };
      using session = bytes.createSession();
      const texts: (string | undefined)[] = [];
      for await (const { text } of session.generate([0x61], { ...options, maxNewTokens: 4 })) texts.push(text);
      for await (const { text } of session.generate([], { ...options, resume: true, maxNewTokens: 4 }))
        texts.push(text);
      expect(texts.join('')).to.equal('éééé');
      bytes.dispose();
    });

    it('is refused where there is none, or where another is asked for', async () => {
      using session = model.createSession();
      const resume = (options: fw.GenerateOptions = {}, prompt: number[] = []) =>
        session.generate(prompt, { resume: true, ...options });
      const none = /resume must be left out where no generation yielded the last token/;
      session.feed([1]).dispose();
      expectError('INVALID_ARGUMENT', none, () => resume());
      const begin = (): Promise<number[]> => take(session.generate([2], { seed: 1, temperature: 1, maxNewTokens: 2 }));
      await begin();
      expectError('INVALID_ARGUMENT', /ids must be none with resume/, () => resume({}, [1]));
      expectError('INVALID_ARGUMENT', /seed must be left out with resume/, () => resume({ seed: 1 }));
      expectError('INVALID_ARGUMENT', /samples must be 1 with resume/, () => resume({ samples: 2 }));
      expectError('INVALID_ARGUMENT', /resume must be/, () => resume({ resume: 1 as never }));
      // Several samples are none of the conversation: there is still what they went on from.
      await take(session.generate([], { samples: 2, maxNewTokens: 1 }));
      await take(resume({ maxNewTokens: 1 }));
      const ends: (() => unknown)[] = [
        () => session.feed([1]).dispose(),
        async () => (await session.read([1])).dispose(),
        () => session.rollback(1),
        () => take(session.generate([1], { samples: 2, maxNewTokens: 1 })),
      ];
      for (const end of ends) {
        await begin();
        await end();
        expectError('INVALID_ARGUMENT', none, () => resume());
      }
    });
  });
}

/** Allows nothing but the two bytes of é in turn. */
function alternate(logits: Float32Array, ids: Int32Array): void {
  const next = ids.at(-1) === 0xc3 ? 0xa9 : 0xc3;
  logits.forEach((_, i) => (logits[i] = i === next ? 0 : -Infinity));
}
