// Libraries that make calls of the system fail, for LD_PRELOAD: FAIL_MEMALIGN=n refuses blocks of more than n bytes,
// FAIL_PTHREAD any new thread.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const HEAD = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
static const char* wish(const char* name) { const char* value = getenv(name); return value && *value ? value : 0; }
`;

const SOURCES = {
  memalign: `
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  static int (*real)(void**, size_t, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "posix_memalign");
  const char* most = wish("FAIL_MEMALIGN");
  return most && bytes > (size_t)atol(most) ? ENOMEM : real(block, alignment, bytes);
}`,
  pthread: `
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* data) {
  static int (*real)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  if (!real) real = dlsym(RTLD_NEXT, "pthread_create");
  return wish("FAIL_PTHREAD") ? EAGAIN : real(thread, attributes, start, data);
}`,
};

/** Whether there is a C compiler for them. */
export function gcc(): boolean {
  return process.platform === 'linux' && spawnSync('gcc', ['--version']).status === 0;
}

/** Path of a library, compiled for this process. */
export function compileShim(name: keyof typeof SOURCES): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-shim-'));
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const [source, library] = [path.join(folder, `${name}.c`), path.join(folder, `${name}.so`)];
  writeFileSync(source, HEAD + SOURCES[name]);
  const { status, stderr } = spawnSync('gcc', ['-shared', '-fPIC', '-o', library, source, '-ldl'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return library;
}
