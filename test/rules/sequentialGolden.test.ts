// Rules whose inputs are named tensors, and whole layers, against vectors computed with the authors' own programs.
import { describeLong } from '../golden/table';

describeLong(
  'fastRnn',
  'selfReferential',
  'recurrentDelta',
  'deltaRnn',
  'deltaLstm',
  'earlyFwp',
  'rnn',
  'elstm',
  'slstm',
);
describeLong('plasticity', 'plasticLayer', 'stpn', 'abcd', 'hopfield');
describeLong('fastWeightPainter', 'fastWeightMemory', 'gatedFastWeights2017', 'dctRnn', 'hybridQuadraticLinear');
describeLong('fwpLayers');
