// New weights for a configuration that was changed, so that what it asks for is also computed.
import * as fw from '../../../lib';
import { getBackend } from '../../../lib/backends';
import { withinBytes } from '../../../lib/core';
import { PublishedConfiguration } from '../../../lib/models/common/configuration';
import { familyFor } from '../../../lib/models/common/registry';
import { type Folder, inTemporary, readFolder } from './folder';

const BYTES = 8 * 2 ** 20;

/** Whether the configuration is one of a small model; its weights are those of the folder then. */
export async function refit(folder: Folder, seed: number): Promise<boolean> {
  let model: fw.models.CausalLM;
  try {
    fw.manualSeed(seed);
    const config = folder.config as PublishedConfiguration['json'];
    const { model: Model } = familyFor('refit', config);
    const make = (): fw.models.CausalLM => new Model(new PublishedConfiguration(config), { device: 'cpu' });
    model = withinBytes(getBackend('cpu'), BYTES, () => new Error('too large'), make);
  } catch {
    // What is wrong with it shows when the folder is loaded.
    return false;
  }
  return inTemporary(async (dir) => {
    await model.savePretrained(dir);
    model.dispose();
    const { weights, index } = readFolder(folder.name, dir);
    Object.assign(folder, { weights, index });
    return true;
  });
}
