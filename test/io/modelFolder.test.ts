// The weights of model folders: one file, shards, and indices that lie.
import { expect } from 'chai';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getBackend } from '../../lib/backends';
import { Storage, Tensor } from '../../lib/core';
import { loadModelFolder, readModelFolder, saveShards, writeFolderAtomic } from '../../lib/io';
import { goldenFolder } from '../support/golden';
import { rejection, temporaryFolder } from './folder';

function counting(n: number): Tensor {
  const backend = getBackend('js');
  const tensor = new Tensor(new Storage(backend, 'float32', n), [n]);
  backend.write(
    tensor.storage.handle,
    0,
    Float32Array.from({ length: n }, (_, i) => i),
  );
  return tensor;
}

describe('io: model folders', () => {
  const at = temporaryFolder();
  const tensors = { a: counting(10), b: counting(5), c: counting(30), empty: counting(0), d: counting(1) };

  async function expectBack(dir: string): Promise<void> {
    const loaded = await loadModelFolder(dir, { device: 'js' });
    expect(loaded).to.have.all.keys(Object.keys(tensors));
    for (const [name, tensor] of Object.entries(tensors)) {
      expect(loaded[name].dataSync()).to.deep.equal(tensor.dataSync());
    }
    expect((await readModelFolder(dir)).metadata).to.deep.equal({ format: 'pt' });
  }

  it('writes one file below the limit', async () => {
    await writeFolderAtomic(at('one'), (folder) => saveShards(folder, tensors));
    expect(readdirSync(at('one'))).to.deep.equal(['model.safetensors']);
    await expectBack(at('one'));
    mkdirSync(at('none'));
    await saveShards(at('none'), {});
    expect(await loadModelFolder(at('none'), { device: 'js' })).to.deep.equal({});
  });

  it('writes shards and their index above it', async () => {
    await writeFolderAtomic(at('many'), (folder) => saveShards(folder, tensors, { maxShardBytes: 60 }));
    const shard = (i: number): string => `model-0000${i}-of-00003.safetensors`;
    expect(readdirSync(at('many'))).to.have.members([shard(1), shard(2), shard(3), 'model.safetensors.index.json']);
    const index: unknown = JSON.parse(readFileSync(at('many/model.safetensors.index.json'), 'utf8'));
    expect(index).to.deep.equal({
      metadata: { total_size: 184 },
      weight_map: { a: shard(1), b: shard(1), c: shard(2), empty: shard(3), d: shard(3) },
    });
    await expectBack(at('many'));
  });

  it('refuses an index that lies', async () => {
    await rejection(loadModelFolder(at('absent')), 'IO', /absent/);
    mkdirSync(at('bad'));
    await rejection(loadModelFolder(at('bad')), 'IO', /holds no/);
    await saveShards(at('bad'), tensors, { maxShardBytes: 60 });
    const index = async (content: unknown, message: RegExp, code: 'FORMAT' | 'IO' = 'FORMAT'): Promise<void> => {
      writeFileSync(at('bad/model.safetensors.index.json'), JSON.stringify(content));
      await rejection(loadModelFolder(at('bad'), { device: 'js' }), code, message);
    };
    await index([], /weight_map/);
    await index({ weight_map: [] }, /weight_map/);
    await index({ weight_map: { a: 3 } }, /"a"/);
    for (const file of [
      '../one/model.safetensors',
      '/etc/passwd',
      '..',
      'a\\b.safetensors',
      'C:x.safetensors',
      'x.bin',
      'a\0.safetensors',
    ]) {
      await index({ weight_map: { a: file } }, /in this folder/);
    }
    await index({ weight_map: { z: 'model-00001-of-00003.safetensors' } }, /"z".*holds it/);
    await index({ weight_map: { a: 'model-00009-of-00003.safetensors' } }, /ENOENT/, 'IO');
  });

  if (goldenFolder) {
    it('reads published layouts', async () => {
      for (const [name, keys] of [
        ['gated_deltanet', 'model.layers.0.attn.q_proj.weight'],
        ['llama', 'model.layers.0.self_attn.q_proj.weight'],
      ] as const) {
        const { entries } = await readModelFolder(join(goldenFolder!, 'models', name));
        expect([...entries.keys()]).to.include.members([keys, 'lm_head.weight']);
        expect(entries.get(keys)!.dtype).to.equal('F32');
      }
      const bfloat16 = await readModelFolder(join(goldenFolder!, 'models/gla'));
      expect(bfloat16.entries.get('lm_head.weight')!.nativeDType).to.equal('bfloat16');
    });
  }
});
