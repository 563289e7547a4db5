// PyTorch's public names with ours beside each: docs/pytorch.md, from the names (docs/pytorch/names.json), what lib/ exports,
// and what was written by hand about both (docs/pytorch/notes.json). Usage: node scripts/pytorch-names.mjs [--check]
// A name with neither a counterpart nor a reason, a note about nothing, and with --check a file that is out of date, are
// exit code 1.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import prettier from 'prettier';
import ts from 'typescript';
import { isInternal, isPublic, readLibrary } from './check-docs.mjs';
import { isMain, root, runMain } from './support.mjs';

const PAGE = join(root, 'docs', 'pytorch.md');

/** Where the counterparts of each group stand, the first place first. '.' begins a member of Tensor. */
const PLACES = {
  Tensor: ['.', ''],
  torch: ['', '.'],
  nn: ['nn.'],
  'nn.functional': [''],
  'nn.init': ['nn.init.'],
  'nn.utils': [],
  optim: ['optim.'],
  'optim.lr_scheduler': ['optim.'],
  'optim.swa_utils': [],
};

/** Every value of the library by its path: `matmul`, `.reshape`, `nn.Linear`, `nn.Module.registerBuffer`. */
export function readValues() {
  const { checker, module } = readLibrary();
  const values = new Set();
  const members = (type, prefix) => {
    for (const member of checker.getPropertiesOfType(type)) {
      if (isPublic(member) && !(member.declarations ?? []).some(isInternal)) values.add(prefix + member.name);
    }
  };
  const collect = (of, prefix) => {
    for (const alias of checker.getExportsOfModule(of)) {
      const symbol = alias.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(alias) : alias;
      if (!(symbol.flags & ts.SymbolFlags.Value)) continue;
      const path = prefix + alias.name;
      values.add(path);
      if (symbol.flags & ts.SymbolFlags.ValueModule) collect(symbol, `${path}.`);
      if (path === 'Tensor' || path === 'nn.Module') {
        members(checker.getDeclaredTypeOfSymbol(symbol), path === 'Tensor' ? '.' : `${path}.`);
      }
    }
  };
  collect(module, '');
  return values;
}

export const camelCase = (name) => name.replace(/(?<=[a-zA-Z0-9])_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** What is said of a name, under `group.name` or, for every group, `name`. */
class Notes {
  used = new Set();

  constructor(entries) {
    this.exact = new Map();
    this.patterns = [];
    for (const [key, value] of entries) {
      if (key.includes('*')) this.patterns.push([key, patternOf(key), value]);
      else this.exact.set(key, value);
    }
  }

  of(group, name) {
    return this.exactly(group, name) ?? this.matching(group, name);
  }

  exactly(group, name) {
    for (const key of [`${group}.${name}`, name]) {
      if (!this.exact.has(key)) continue;
      this.used.add(key);
      return this.exact.get(key);
    }
    return undefined;
  }

  matching(group, name) {
    for (const [key, pattern, value] of this.patterns) {
      if (!pattern.test(`${group}.${name}`) && !pattern.test(name)) continue;
      this.used.add(key);
      return value;
    }
    return undefined;
  }

  get idle() {
    return [...this.exact.keys(), ...this.patterns.map(([key]) => key)].filter((key) => !this.used.has(key));
  }
}

const patternOf = (key) => new RegExp(`^${key.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);

/** What JavaScript brings, and schedules of the reader's own. */
const FOREIGN = /^(Math\.\w+|String|Boolean|first|second)$|\.(map|filter|includes)$/;

/** What an expression calls and the library does not have. */
function unknownIn(expression, values) {
  const paths = [...expression.matchAll(/[\w.]*\w(?=\()/g)].map(([path]) => path);
  return paths.filter((path) => {
    const member = /\.\w+$/.exec(path)?.[0];
    const known = [path, member, `nn.Module${member}`];
    return !FOREIGN.test(path) && !known.some((name) => values.has(name));
  });
}

/** The rows of each group, and what is wrong with names or notes. */
export function match(names, notes, values) {
  const problems = [];
  const renamed = new Notes(Object.entries(notes.renamed));
  const differs = new Notes(Object.entries(notes.differs));
  const instead = new Notes(Object.entries(notes.instead));
  const reasons = notes.leftOut.flatMap(({ reason, names: of }) => of.split(' ').map((name) => [name, reason]));
  const leftOut = new Notes(reasons);

  const find = (group, target) => {
    const [path] = target.split('(');
    const found = ['', ...PLACES[group]].map((place) => place + path).filter((at) => values.has(at));
    // A method before a function of the same name, where methods come first.
    const best = PLACES[group].map((place) => place + path).find((at) => values.has(at)) ?? found[0];
    if (!best) return undefined;
    const rest = target.slice(path.length);
    return best + (group === 'torch' && !best.startsWith('.') ? rest.replace('(', '(x, ') : rest);
  };

  const row = (group, name) => {
    const own = find(group, camelCase(name));
    const target = renamed.exactly(group, name);
    const other = target && find(group, target);
    if (target && !other) problems.push(`${group}.${name}: there is no ${target}`);
    const here = other ?? own;
    const written = instead.exactly(group, name);
    const reason = here || written ? leftOut.exactly(group, name) : leftOut.of(group, name);
    const claims = [own && 'a counterpart', target && 'another name', written && 'a line', reason && 'a reason'];
    const several = claims.filter(Boolean);
    if (several.length !== 1)
      problems.push(`${group}.${name}: ${several.join(' and ') || 'neither counterpart nor reason'}`);
    if (written) {
      for (const unknown of unknownIn(written, values)) problems.push(`${group}.${name}: there is no ${unknown}`);
    }
    return {
      name,
      here,
      renamed: Boolean(other),
      remark: here ? differs.exactly(group, name) : undefined,
      written,
      reason,
    };
  };

  const groups = Object.entries(names).map(([group, list]) => [group, list.map((name) => row(group, name))]);
  for (const [kind, all] of Object.entries({ renamed, differs, instead, leftOut })) {
    for (const key of all.idle) problems.push(`${kind}: ${key} is no name that it is about`);
  }
  return { groups, problems };
}

const code = (text) => `\`${text}\``;

function section(group, rows) {
  const here = rows.filter((row) => row.here);
  const written = rows.filter((row) => row.written);
  const without = rows.filter((row) => row.reason);
  const counts = [
    `${here.length} here`,
    `${here.filter((row) => row.renamed).length} of them under another name`,
    `${here.filter((row) => row.remark).length} with a remark`,
    `${written.length} that are a line`,
    `${without.length} left out`,
  ];
  const lines = [
    `## ${group === 'torch' ? 'torch' : `torch.${group}`}`,
    '',
    `${rows.length} names: ${counts.join(', ')}.`,
    '',
  ];
  const cell = (text) => text.replaceAll('|', '\\|');
  if (here.length + written.length > 0) {
    lines.push('| PyTorch | here | remark |', '| --- | --- | --- |');
    for (const row of here) lines.push(`| ${code(row.name)} | ${code(row.here)} | ${cell(row.remark ?? '')} |`);
    for (const row of written) lines.push(`| ${code(row.name)} | | ${code(cell(row.written))} |`);
    lines.push('');
  }
  const reasons = new Map();
  for (const { reason, name } of without) reasons.set(reason, [...(reasons.get(reason) ?? []), code(name)]);
  if (without.length > 0) lines.push('Left out:', '');
  for (const [reason, list] of reasons) lines.push(`- ${reason} — ${list.join(', ')}`);
  return lines.join('\n');
}

const HEAD = `# PyTorch's names

Public names of PyTorch 2.9.1, and what stands for each of them here. Names are in camelCase; a dot begins a method or property
of \`Tensor\`, the others are exports of the package. A remark says what differs; it shows methods, the function of the same
name takes the tensor first. Everywhere: shapes are lists, options that PyTorch takes by keyword stand in an object, dtypes
never mix, positions are int32, a bool reads as 0 and 1. What is one line of other operators has that line and no name.

Written by \`npm run docs:pytorch\` from what the package exports and docs/pytorch.
`;

/** The page, and what is wrong. */
export async function render() {
  const read = (name) => JSON.parse(readFileSync(join(root, 'docs', 'pytorch', name), 'utf8'));
  const { groups, problems } = match(read('names.json'), read('notes.json'), readValues());
  const text = [HEAD, ...groups.map(([group, rows]) => section(group, rows))].join('\n');
  const options = await prettier.resolveConfig(PAGE);
  return { page: await prettier.format(text, { ...options, filepath: PAGE }), problems };
}

async function main() {
  const { page, problems } = await render();
  for (const line of problems) console.log(line);
  if (problems.length > 0) return 1;
  if (!process.argv.includes('--check')) {
    writeFileSync(PAGE, page);
    return 0;
  }
  if (readFileSync(PAGE, 'utf8') === page) return 0;
  console.log('docs/pytorch.md is out of date: npm run docs:pytorch');
  return 1;
}

if (isMain(import.meta.url)) await runMain(main);
