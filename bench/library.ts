// The library as it is installed: the compiled files, because a loader of TypeScript slows the kernels in JavaScript.
import { createRequire } from 'node:module';
import path from 'node:path';
import type * as Library from '../lib';
import type * as Backends from '../lib/backends';

const load = createRequire(__filename);
const dist = path.resolve(__dirname, '../dist');

export const fw = load(dist) as typeof Library;
export const { cardFacts, getBackend, machineLimits } = load(path.join(dist, 'backends')) as typeof Backends;
export type { CardFacts, MachineLimits } from '../lib/backends';
export type { Device, Tensor } from '../lib';
