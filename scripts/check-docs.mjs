// Lists what the package exports without a docstring: names, members of classes, options and other properties of
// interfaces. Usage: node scripts/check-docs.mjs; exit code 1 when there are any.
import { join, relative } from 'node:path';
import ts from 'typescript';
import { isMain, root, runMain } from './support.mjs';

/** Every exported declaration, as [place, name, symbol]; a symbol that several names lead to comes once. */
export function* exported(checker, module, prefix = '', seen = new Set()) {
  for (const alias of checker.getExportsOfModule(module)) {
    const symbol = alias.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(alias) : alias;
    const name = prefix + alias.name;
    if (symbol.flags & ts.SymbolFlags.ValueModule) {
      yield* exported(checker, symbol, `${name}.`, seen);
      continue;
    }
    if (seen.has(symbol)) continue;
    seen.add(symbol);
    yield [name, symbol];
    if (symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface)) {
      for (const member of symbol.members?.values() ?? [])
        if (isPublic(member)) yield [`${name}.${member.name}`, member];
      if (symbol.flags & ts.SymbolFlags.Class) {
        for (const member of symbol.exports?.values() ?? []) {
          if (member.name !== 'prototype' && isPublic(member)) yield [`${name}.${member.name}`, member];
        }
      }
    }
  }
}

export function isPublic(member) {
  if (member.name.startsWith('__') || member.flags & ts.SymbolFlags.TypeParameter) return false;
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  return (member.declarations ?? []).every(
    (d) => !(ts.getCombinedModifierFlags(d) & hidden) && !(d.name && ts.isPrivateIdentifier(d.name)) && !isInternal(d),
  );
}

export function isInternal(declaration) {
  return ts.getJSDocTags(declaration).some((tag) => tag.tagName.text === 'internal');
}

/** The program of lib/, and the symbol of its root. */
export function readLibrary() {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(fileNames, options);
  const checker = program.getTypeChecker();
  const index = program.getSourceFile(join(root, 'lib', 'index.ts'));
  return { checker, module: checker.getSymbolAtLocation(index) };
}

function main() {
  const { checker, module } = readLibrary();
  const bare = [];
  let all = 0;
  for (const [name, symbol] of exported(checker, module)) {
    const declaration = symbol.declarations?.[0];
    // What a class inherits from its interface, or overrides, is described there.
    if (!declaration || isInternal(declaration)) continue;
    all++;
    if (symbol.getDocumentationComment(checker).length > 0) continue;
    const file = declaration.getSourceFile();
    const { line } = file.getLineAndCharacterOfPosition(declaration.getStart());
    bare.push(`${relative(root, file.fileName)}:${line + 1} ${name}`);
  }
  for (const line of bare.sort()) console.log(line);
  console.log(`${all - bare.length} of ${all} exported names, options and members have a docstring`);
  return bare.length === 0 ? 0 : 1;
}

if (isMain(import.meta.url)) await runMain(main);
