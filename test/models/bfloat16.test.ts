// bfloat16 models: how their decays are drawn, and which parameters stay float32.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectClose } from '../support/tolerance';

type Model = fw.models.CausalLM;

const FLOAT32 = /\.(A_log|dt_bias)$/;
const places = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));

for (const device of places) {
  for (const family of ['gated-deltanet', 'kda'] as const) {
    describe(`${family} in bfloat16 on ${device}`, () => {
      const make = (dtype: 'float32' | 'bfloat16', sizes: object = {}): Model => {
        fw.manualSeed(0);
        const small = { vocabSize: 16, hiddenSize: 32, numLayers: 2, numHeads: 2, intermediateSize: 32 };
        return fw.createModel(family, { ...small, dtype, device, ...sizes });
      };
      const decays = (model: Model): [string, fw.Tensor][] =>
        model.namedParameters().filter(([name]) => FLOAT32.test(name));
      const expectKept = (model: Model): void => {
        for (const [name, t] of model.namedParameters()) {
          expect(t.dtype, name).to.equal(FLOAT32.test(name) ? 'float32' : 'bfloat16');
        }
      };

      it('draws decays and time steps as in float32', () => {
        const sizes = { hiddenSize: 256, numHeads: 4, numLayers: 2 };
        const [wide, narrow] = [make('float32', sizes), make('bfloat16', sizes)];
        const bits = (model: Model): unknown => decays(model).map(([name, t]) => [name, Array.from(t.dataSync())]);
        expect(bits(narrow)).to.eql(bits(wide));
        for (const [name, t] of decays(narrow)) {
          for (const x of t.dataSync()) {
            if (name.endsWith('dt_bias')) expect(Math.log1p(Math.exp(x))).to.be.within(0.000999, 0.1001);
            else expect(Math.exp(x)).to.be.within(0.000999, 16.001);
          }
        }
        [wide, narrow].forEach((model) => model.dispose());
      });

      it('keeps them in float32 when it is made, cast, saved, loaded, and trained', async () => {
        const model = make('bfloat16');
        expectKept(model);
        const values = decays(model).map(([, t]) => t.tolist());
        model.to('float32').to('bfloat16');
        expectKept(model);
        expect(decays(model).map(([, t]) => t.tolist())).to.eql(values);
        const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-model-'));
        await model.savePretrained(dir);
        const config = JSON.parse(await readFile(path.join(dir, 'config.json'), 'utf8')) as Record<string, unknown>;
        expect([config.dtype, config.torch_dtype]).to.eql(['bfloat16', 'bfloat16']);
        const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { dtype: 'bfloat16', device });
        await rm(dir, { recursive: true });
        expectKept(again);
        expect(decays(again).map(([, t]) => t.tolist())).to.eql(values);
        const optimizer = new fw.optim.AdamW(again.namedParameters(), { lr: 1e-3 });
        const ids = fw.tensor([[1, 2, 3, 4, 5, 6]], { dtype: 'int32', device });
        for (let step = 0; step < 3; step++) {
          fw.scope(() => {
            const { loss } = again.forward(ids, { labels: ids });
            loss.backward();
            optimizer.step(fw.optim.clipFactor(again.parameters(), 1).factor);
            expect(loss.item()).to.be.within(0, 10);
            again.zeroGrad();
          });
        }
        expectKept(again);
        const masters = Object.keys(optimizer.state().tensors).filter((name) => name.endsWith('.master'));
        expect(masters).to.have.length(again.parameters().length - values.length);
        // Steps too small for bfloat16 are seen at once.
        decays(again).forEach(([name, t], i) => expect(t.tolist(), name).to.not.eql(values[i]));
        optimizer.dispose();
        [model, again].forEach((m) => m.dispose());
      });

      it('stores weights as float16, and reads them in any dtype', async () => {
        const model = make('float32');
        const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-model-'));
        await model.savePretrained(dir, { dtype: 'float16', maxShardBytes: 20000 });
        const config = JSON.parse(await readFile(path.join(dir, 'config.json'), 'utf8')) as Record<string, string>;
        const { entries } = await fw.readCheckpointFolder(dir);
        const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { device });
        await rm(dir, { recursive: true });
        expect([config.dtype, config.torch_dtype]).to.eql(['float16', 'float16']);
        expect([...entries.values()].map(({ dtype }) => dtype)).to.eql([...entries].map(() => 'F16'));
        const before = new Map(model.namedParameters());
        for (const [name, t] of again.namedParameters()) {
          expect(t.dtype).to.equal('float32');
          expectClose(name, t.dataSync(), before.get(name)!.dataSync(), 2 ** -11);
        }
        [model, again].forEach((m) => m.dispose());
      });

      it('reads what others rounded to bfloat16', async () => {
        const model = make('bfloat16');
        const rounded = Object.fromEntries(
          model.namedParameters().map(([name, t]) => [name, t.detach().to('bfloat16')]),
        );
        const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-model-'));
        await model.savePretrained(dir);
        await fw.saveSafetensors(path.join(dir, 'model.safetensors'), rounded, { format: 'pt' });
        const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { dtype: 'bfloat16', device });
        await rm(dir, { recursive: true });
        expectKept(again);
        for (const [name, t] of decays(again)) expect(t.tolist(), name).to.eql(rounded[name].tolist());
        [model, again].forEach((m) => m.dispose());
      });
    });
  }
}
