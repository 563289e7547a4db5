// Counts the innermost loops of the CPU kernels in their machine code: multiply-adds, instructions, loads, stores and, of both, those
// of the stack, which are spills. For where a processor is not at hand: a loop is held back by whichever of them its ports take longest for.
// Usage: node scripts/hot-loops.mjs [avx2|avx512|neon] [text in a kernel's name], after npm run build, for neon after
// npm run test:processors
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, isMain, root, runMain } from './support.mjs';

const FEWEST = 8;

const X86 = {
  objdump: 'objdump',
  objects: 'build/Release/obj.target',
  jump: (name) => name.startsWith('j'),
  multiplyAdd: (name) => /^vfn?m(add|sub)/.test(name),
  store: (name, args) => name.startsWith('vmov') && /,[^,(]*\([^)]*\)$/.test(args),
  load: (_, args) => args.includes('('),
  stack: (args) => args.includes('(%rsp'),
};
const ARM = {
  objdump: 'aarch64-linux-gnu-objdump',
  objects: 'build-processors/build/Release/obj.target',
  jump: (name) => /^(b|b\..*|cbn?z|tbn?z)$/.test(name),
  multiplyAdd: (name) => name === 'fmla' || name === 'fmls',
  store: (name) => /^st(r|p|ur|[1-4])/.test(name),
  load: (name) => /^ld(r|p|ur|[1-4])/.test(name),
  stack: (args) => args.includes('[sp'),
};

/** Functions of an object file, each a list of instructions. */
function* functions(object, { objdump }) {
  const { stdout, error } = spawnSync(objdump, ['-d', '--no-show-raw-insn', '-C', object], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  if (error) throw new Failure(`${objdump}: ${error.message}`);
  for (const text of stdout.split(/\n\n/)) {
    const title = /^[0-9a-f]+ <(.*)>:$/m.exec(text);
    if (!title) continue;
    const lines = [...text.matchAll(/^ *([0-9a-f]+):\s+(\S+) *(.*)$/gm)];
    yield { title: title[1], code: lines.map(([, at, name, args]) => ({ at: parseInt(at, 16), name, args })) };
  }
}

/** Jumps backwards that enclose none. */
function innermost(code, { jump }) {
  const places = new Map(code.map(({ at }, i) => [at, i]));
  const loops = code.flatMap(({ name, args }, end) => {
    const to = jump(name) && /([0-9a-f]+) </.exec(args);
    const begin = to && places.get(parseInt(to[1], 16));
    return begin !== null && begin <= end ? [[begin, end]] : [];
  });
  return loops.filter(([b, e]) => !loops.some(([b2, e2]) => (b2 !== b || e2 !== e) && b2 >= b && e2 <= e));
}

function count(code, machine) {
  const number = (test) => code.filter(({ name, args }) => test(name, args)).length;
  const touches = (name, args) => machine.store(name, args) || machine.load(name, args);
  return {
    'multiply-adds': number(machine.multiplyAdd),
    instructions: code.length,
    loads: number((name, args) => machine.load(name, args) && !machine.store(name, args)),
    stores: number(machine.store),
    stack: number((name, args) => touches(name, args) && machine.stack(args)),
  };
}

function main() {
  const [set = 'avx2', text = ''] = process.argv.slice(2);
  const machine = set === 'neon' ? ARM : X86;
  const folder = join(root, machine.objects, set, 'native', 'cpu');
  if (!existsSync(folder)) throw new Failure(`${set} is not built: ${machine.objects}/${set}`);
  const objects = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.o'));
  const rows = objects.flatMap((object) =>
    [...functions(join(folder, object), machine)].flatMap(({ title, code }) =>
      innermost(code, machine).map(([begin, end]) => ({
        object,
        ...count(code.slice(begin, end + 1), machine),
        kernel: title.replaceAll(`fw::${set}::`, '').replace(/\(.*$/, '').slice(0, 70),
      })),
    ),
  );
  const found = rows.filter((row) => row['multiply-adds'] >= FEWEST && `${row.object} ${row.kernel}`.includes(text));
  // Templates are compiled into every file that uses them.
  const unique = new Map(found.map(({ object, ...row }) => [JSON.stringify(row), { object, ...row }]));
  console.table([...unique.values()].sort((a, b) => b['multiply-adds'] - a['multiply-adds']));
}

if (isMain(import.meta.url)) await runMain(main);
