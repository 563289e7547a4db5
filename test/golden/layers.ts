// Whole layers and models of one file, built from the library's modules with the parameters in the file under their names.
import type { CaseRunner } from '../support/runCase';
import { CONTINUOUS } from './continuous';
import { fwpLayer } from './fwpLayers';
import { LINE_LAYERS } from './line';
import { longhornLayer } from './longhorn';
import { TEST_TIME_LAYERS } from './testTime';

/** By the rule in the file. */
export const LAYERS: Readonly<Record<string, CaseRunner>> = {
  ...CONTINUOUS,
  ...LINE_LAYERS,
  ...TEST_TIME_LAYERS,
  fwpLayer,
  longhornLayer,
};
