// `doctor`: what this machine offers, what is missing and how to get it, and whether the kernels compute right.
import { Command } from 'commander';
import {
  buildCommand,
  defaultDevice,
  getBackend,
  inspectDevices,
  loadAttempts,
  processorName,
  type LoadAttempt,
  unmetWish,
} from '../backends';
import { type Device, FastWeightsError, HostRandom, scope } from '../core';
import { checksFromEnvironment, setChecks, tensor } from '../ops';
import { modelFamilies } from '../models';
import { deltaRule, ruleNames } from '../rules';
import { formatBytes } from '../viz';
import { addImportOption } from './imports';
import { type CardReport, examineCard, renderCard } from './doctorCard';
import {
  architecture,
  hardwareThreads,
  machineMemory,
  operatingSystem,
  packageVersion,
  runtimeVersion,
} from '../platform';

interface DeviceReport {
  device: Device;
  available: boolean;
  name: string;
  reason?: string;
  /** Relative error of a delta rule over a short sequence against float64. */
  selfTest?: { error: number; passed: boolean };
}

/** What the environment asks for and is not there. */
interface Problem {
  message: string;
  remedy: string;
}

/** A variable that is set and changes what is computed, or where. */
interface Setting {
  name: string;
  value: string;
  effect: string;
}

interface DoctorReport {
  version: string;
  node: string;
  platform: string;
  processor: string;
  threads: number;
  memory: { total: number; free: number };
  card: CardReport;
  /** Null where the environment asks for one that is not there. */
  defaultDevice: Device | null;
  devices: DeviceReport[];
  settings: Setting[];
  loading: (LoadAttempt & { remedy?: string })[];
  environment: Problem[];
  /** Names in the registry, those of imported modules last. */
  models: string[];
  rules: string[];
}

/** What the variables do that the library reads, and those of others that change it. */
const EFFECTS: Readonly<Record<string, string>> = {
  FAST_WEIGHTS_DEVICE: 'the default device',
  FAST_WEIGHTS_CHECK: 'whether values are checked on every device',
  FAST_WEIGHTS_ISA: 'the instruction set of the native kernels',
  FAST_WEIGHTS_NATIVE_PATH: 'the native addon, instead of any other',
  FAST_WEIGHTS_CUDA_DEVICE: 'the number of the card, which is the default device then',
  FAST_WEIGHTS_CUDA_SYNC: 'whether every kernel on a card is waited for',
  FAST_WEIGHTS_CUDA_CACHE: 'whether memory of a card is kept for reuse',
  FAST_WEIGHTS_CUDA_GRAPHS: 'whether calls that are made again are started together',
  FAST_WEIGHTS_CUBLAS: 'where cuBLAS is looked for, or off',
  FAST_WEIGHTS_EMULATION_BUILD: 'the folder of the emulated card',
  FAST_WEIGHTS_POISON: 'fresh memory is filled with NaN',
  CUDA_VISIBLE_DEVICES: 'which cards are seen',
  NVIDIA_TF32_OVERRIDE: 'cuBLAS is not used',
};

function settings(): Setting[] {
  const names = [...new Set([...Object.keys(EFFECTS), ...Object.keys(process.env).filter(isOwn).sort()])];
  return names.flatMap((name) => {
    const value = process.env[name];
    // Set to nothing hides every card; the library's own count as left out then.
    if (value === undefined || (value === '' && isOwn(name))) return [];
    return [{ name, value, effect: EFFECTS[name] ?? 'nothing: no variable of this name is read' }];
  });
}

function isOwn(name: string): boolean {
  return name.startsWith('FAST_WEIGHTS_');
}

/** What to do about a variable. */
const SETTINGS: Record<string, string> = {
  FAST_WEIGHTS_ISA: 'unset FAST_WEIGHTS_ISA for the widest set there is, or name one of those',
  FAST_WEIGHTS_NATIVE_PATH: 'unset FAST_WEIGHTS_NATIVE_PATH, or name a .node file that this version built',
  FAST_WEIGHTS_CHECK: 'unset FAST_WEIGHTS_CHECK, or set it to 0, 1 or values',
  FAST_WEIGHTS_CUDA_DEVICE: 'unset FAST_WEIGHTS_CUDA_DEVICE, or set it to the number of a card that works, see above',
};
const DEVICE_REMEDY = 'unset FAST_WEIGHTS_DEVICE for the fastest device there is';

const BUILD = `${buildCommand()} compiles it; it needs a C++ compiler, make and Python 3`;

/** What to do about a step that failed; the chain goes on behind it, so only some of them need anything. */
const REMEDIES: Record<LoadAttempt['step'], string> = {
  override: 'set FAST_WEIGHTS_NATIVE_PATH to a .node file to force one; nothing to do otherwise',
  'beside the bundle': 'leave the library out of the bundle',
  'local build': BUILD,
  'cuda package': 'see the card above',
  emulation: 'for tests of this library only',
  prebuild: BUILD,
  js: 'pure JavaScript always works; report this as a bug',
};

export function doctorCommand(): Command {
  return addImportOption(new Command('doctor'))
    .description('Shows the devices, why one is missing, and whether each computes right; and the models there are.')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights doctor\n  fast-weights doctor --json\n\nThe exit code is 1 if a self-test fails, or the environment asks for what is not there.',
    )
    .action(({ json }: { json?: boolean }) => {
      const report = examine();
      console.log(json ? JSON.stringify(report, null, 2) : render(report));
      const failed = report.devices.some((d) => d.selfTest?.passed === false);
      if (failed || report.environment.length > 0) process.exitCode = 1;
    });
}

/** The wishes of the environment that cannot be met. */
function examineEnvironment(): Problem[] {
  const unmet = unmetWish();
  const found = [unmet, failureOf(() => void defaultDevice()), failureOf(() => void checksFromEnvironment())];
  return [...new Set(found)].flatMap((error) =>
    error ? [{ message: error.message, remedy: SETTINGS[error.argument ?? ''] ?? DEVICE_REMEDY }] : [],
  );
}

function failureOf(look: () => void): FastWeightsError | null {
  try {
    look();
    return null;
  } catch (error) {
    if (error instanceof FastWeightsError) return error;
    throw error;
  }
}

function remedyOf({ step, reason }: LoadAttempt): string {
  return reason === unmetWish()?.message ? 'see the environment above' : REMEDIES[step];
}

function examine(): DoctorReport {
  const environment = examineEnvironment();
  setChecks(true);
  // Devices beside `js` refuse to work while a wish is not met.
  const usable = (device: Device): boolean => device === 'js' || unmetWish() === null;
  return {
    version: packageVersion(),
    node: runtimeVersion,
    platform: `${operatingSystem}-${architecture}`,
    processor: processorName(),
    threads: hardwareThreads(),
    memory: machineMemory(),
    card: examineCard(),
    defaultDevice: environment.length > 0 ? null : defaultDevice(),
    settings: settings(),
    devices: inspectDevices().map((d) => (d.available && usable(d.device) ? tried(d) : d)),
    loading: loadAttempts().map((attempt) => (attempt.ok ? attempt : { ...attempt, remedy: remedyOf(attempt) })),
    environment,
    models: modelFamilies.map(({ name }) => name),
    rules: ruleNames(),
  };
}

const [T, K, V] = [40, 16, 24];
const TOLERANCE = 1e-5;

/** A card beyond the first is asked for a context here, and may refuse. */
function tried(report: DeviceReport): DeviceReport {
  const refusal = failureOf(() => void getBackend(report.device));
  if (refusal) return { ...report, available: false, reason: refusal.message };
  return { ...report, selfTest: selfTest(report.device) };
}

/** A delta rule on random inputs, against a loop in float64. */
function selfTest(device: Device): { error: number; passed: boolean } {
  const random = new HostRandom(1);
  const draw = (n: number): Float32Array => Float32Array.from({ length: n }, () => random.next() * 2 - 1);
  const inputs = { q: draw(T * K), k: draw(T * K).map((x) => x / 4), v: draw(T * V), beta: draw(T).map(Math.abs) };
  const expected = reference(inputs);
  const found = scope(() => {
    const on = (data: Float32Array, width: number): ReturnType<typeof tensor> =>
      tensor(data, { shape: [1, T, 1, width], device });
    const beta = tensor(inputs.beta, { shape: [1, T, 1], device });
    return deltaRule(on(inputs.q, K), on(inputs.k, K), on(inputs.v, V), { beta }).output.dataSync();
  });
  const error = rms(expected.map((x, i) => x - found[i])) / rms(expected);
  return { error, passed: error < TOLERANCE };
}

function reference({ q, k, v, beta }: Record<'q' | 'k' | 'v' | 'beta', Float32Array>): Float64Array {
  const S = new Float64Array(K * V);
  const output = new Float64Array(T * V);
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < V; j++) {
      let recalled = 0;
      for (let i = 0; i < K; i++) recalled += S[i * V + j] * k[t * K + i];
      const change = beta[t] * (v[t * V + j] - recalled);
      for (let i = 0; i < K; i++) {
        S[i * V + j] += k[t * K + i] * change;
        output[t * V + j] += (S[i * V + j] * q[t * K + i]) / Math.sqrt(K);
      }
    }
  }
  return output;
}

function rms(x: Float64Array): number {
  return Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
}

function render(report: DoctorReport): string {
  const { memory } = report;
  const lines = [
    `fast-weights ${report.version}   Node ${report.node}   ${report.platform}`,
    `processor    ${report.processor}, ${report.threads} threads`,
    `memory       ${formatBytes(memory.free)} free of ${formatBytes(memory.total)}`,
    ...renderCard(report.card),
    ...renderEnvironment(report.settings, report.environment),
    '',
    report.defaultDevice === null ? 'devices' : `devices (the default is ${report.defaultDevice})`,
    ...report.devices.map(renderDevice),
    '',
    'where the native addon was looked for',
    ...report.loading.flatMap(({ step, ok, reason, remedy }) => [
      `  ${mark(ok)} ${step}${reason ? `: ${reason}` : ''}`,
      ...(remedy ? [`      ${remedy}`] : []),
    ]),
    '',
    `models       ${report.models.join(', ')}`,
    `rules        ${report.rules.join(', ')}`,
  ];
  return lines.join('\n');
}

function renderEnvironment(settings: Setting[], problems: Problem[]): string[] {
  const lines = [
    ...settings.map(({ name, value, effect }) => `  ${name}=${value}: ${effect}`),
    ...problems.flatMap(({ message, remedy }) => [`  ✗ ${message}`, `      ${remedy}`]),
  ];
  return lines.length === 0 ? [] : ['', 'environment', ...lines];
}

function renderDevice({ device, available, name, reason, selfTest }: DeviceReport): string {
  if (!available) return `  ${mark(false)} ${device}: ${reason ?? 'not available'}`;
  const title = `${device}: ${name}`;
  if (!selfTest) return `  ${mark(false)} ${title}; not tried, see the environment above`;
  const { passed, error } = selfTest;
  return `  ${mark(passed)} ${title}; self-test ${passed ? 'passed' : 'FAILED'} (error ${error.toExponential(1)})`;
}

function mark(ok: boolean): string {
  return ok ? '✓' : '–';
}
