// Rules whose inputs are named tensors, and whole layers, against vectors computed with the authors' own programs.
import { describeFolders } from '../golden/table';

describeFolders('fastRnn', 'selfReferential', 'recurrentDelta', 'deltaRnn', 'deltaLstm', 'earlyFwp', 'rnn', 'elstm');
describeFolders('plasticity', 'plasticLayer', 'stpn', 'abcd', 'hopfield');
describeFolders('fastWeightPainter', 'fastWeightMemory', 'gatedFastWeights2017', 'dctRnn', 'hybridQuadraticLinear');
describeFolders('fwpLayers');
