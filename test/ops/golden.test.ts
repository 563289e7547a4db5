// Operators against vectors computed with the authors' own programs.
import { describeFolders } from '../golden/table';

describeFolders(
  'featureMaps',
  'featureMaps2021',
  'norms',
  'lstm',
  'shortConvolution',
  'crossEntropy',
  'softmaxAttention',
  'rope',
);
