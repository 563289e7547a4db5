// The process and the machine it runs on.
const { availableParallelism, cpus, freemem, totalmem } = process.getBuiltinModule('node:os');
const { readFileSync } = process.getBuiltinModule('node:fs');

/** A variable of the environment; undefined where it is not set or empty. */
export function environment(name: string): string | undefined {
  return process.env[name] || undefined;
}

export const processId = process.pid;

/** Milliseconds since 1970. */
export const processBegan = Date.now() - process.uptime() * 1000;

/** Whether a process of this number runs; the error of the system where that cannot be told. */
export function signalsProcess(pid: number): true {
  return process.kill(pid, 0);
}

/**
 * What tells a process from an earlier or a later one of the same number, clocks aside: the run of the system, and when in it the
 * process began. Undefined where there is none, or the system does not say.
 */
export function processMark(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // The name of the program, in brackets, may hold anything.
    const began = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ')[19];
    return `${boot} ${began}`;
  } catch {
    return undefined;
  }
}

/** Hands a warning to the program: it decides whether and where it is shown. */
export function warn(message: string): void {
  process.emitWarning(message, 'FastWeightsWarning');
}

/** 'win32', 'linux', ... */
export const operatingSystem: string = process.platform;

/** 'x64', 'arm64', ... */
export const architecture: string = process.arch;

/** The JavaScript engine, for people. */
export const engine = `V8 ${process.versions.v8}`;

export const runtimeVersion = process.version;

/** The model of the processor as the system calls it, '' where it does not say. */
export function processorModel(): string {
  return cpus()[0]?.model.trim() ?? '';
}

export function hardwareThreads(): number {
  return availableParallelism();
}

/** Bytes of the machine's memory. */
export function machineMemory(): { total: number; free: number } {
  return { total: totalmem(), free: freemem() };
}
