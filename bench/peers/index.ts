// The peers in JavaScript; those in Python are reached through python.ts.
import type { Contender } from '../contender';
import { base } from '../cases/descendants';
import { llamaCpp } from './llamaCpp';
import { onnxruntime } from './onnxruntime';
import { tfjs } from './tfjs';

export interface JavaScriptPeer extends Contender {
  /** The packages it needs. */
  readonly packages: readonly string[];
  /** What installs them, where bench/package.json does not. */
  readonly install?: string;
}

export const javaScriptPeers: readonly JavaScriptPeer[] = [{ ...base, packages: [] }, onnxruntime, tfjs, llamaCpp];
