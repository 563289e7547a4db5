// Continuous-time fast weights against vectors computed with their authors' program.
import { describeFolders, describeLong } from '../../golden/table';

describeFolders('splines', 'logSignatures', 'odeFields', 'odeRfwp');
describeLong('odeIntegration');
