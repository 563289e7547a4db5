// The programs of the documentation compile under `strict`; programs with a typo do not.
import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { repository } from '../support/library';

/** What a program of the documentation leaves to its reader. */
const PLACEHOLDERS: Record<string, string> = { nextBatch: 'declare function nextBatch(): number[];' };

/** Blocks of a document that are written in a language, without their indentation. */
function blocks(document: string, language: string): string[] {
  const text = readFileSync(path.join(repository, document), 'utf8');
  const found = text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n(.*?)\`\`\``, 'gms'));
  return [...found].map(([, indent, body]) => body.replace(new RegExp(`^${indent}`, 'gm'), ''));
}

/** A program as a module beside the tests, which finds the library in its sources. */
function programText(body: string): string {
  const declared = Object.entries(PLACEHOLDERS).flatMap(([name, text]) => (body.includes(`${name}(`) ? [text] : []));
  return [
    ...declared,
    body.replace(/'fast-weights(\/server)?'/g, (_, part = '') => `'../../lib${part}/index.js'`),
    'export {};',
  ].join('\n');
}

const IMPORTS = "import * as fw from 'fast-weights';\n";
const TENSORS = 'declare const q: fw.Tensor, ids: fw.Tensor, flag: boolean, beta: fw.Tensor;\n';
const snippet = (body: string): string => programText(IMPORTS + TENSORS + body);

/** What must not compile, with a word of the compiler's message. */
const WRONG: [body: string, message: string][] = [
  ["fw.createModel('deltanet', { vocabSize: 9, hiddenSzie: 16 });", 'hiddenSzie'],
  ["fw.createModel('deltanet', { vocabSize: 9, lowerBound: -5 });", 'lowerBound'],
  ["fw.createModel('deltanett', { vocabSize: 9 });", 'deltanett'],
  ["fw.createModel('deltanet', {});", 'vocabSize'],
  ["fw.createModel('delta_net', { vocabSize: 9, lowerBound: -5 });", 'lowerBound'],
  ["fw.createModel('own-model', { vocabSize: 9, deepth: 2 });", 'deepth'],
  ["fw.AutoModelForCausalLM.fromConfig({ modelType: 'own_model', deepth: 2 });", 'deepth'],
  ["fw.registerModel({ modelType: 'another', keys: {}, modell: 1 } as const);", 'model'],
  ["fw.getRule('deltaRulee');", 'deltaRulee'],
  ["fw.AutoModelForCausalLM.fromConfig({ modelType: 'gla', hiddenSzie: 16 });", 'hiddenSzie'],
  ["fw.AutoModelForCausalLM.fromConfig({ model_type: 'gla', hidden_szie: 16 });", 'hidden_szie'],
  ["fw.AutoModelForCausalLM.fromConfig({ modelType: 'gla', attn: { layers: [0], numHeds: 2 } });", 'numHeds'],
  ["new fw.models.DeltaNetForCausalLM({ qkNrom: 'l2' });", 'qkNrom'],
  ["new fw.models.DeltaNetForCausalLM({ qkNorm: 'l3' });", 'l3'],
  ['fw.deltaRule(q, q, q, { betaa: beta });', 'betaa'],
  ['fw.deltaRule(q, q, q, { outputFinalSate: true });', 'outputFinalSate'],
  ['fw.deltaRule.step(q, q, q, { state: q, scael: 1 });', 'scael'],
  ['fw.retention(q, q, q, { gate: q });', 'gate'],
  ["fw.recurrence({ q, k: q, v: q }, { eraseForm: 'decayed' });", 'eraseForm'],
  ["fw.zeros([1], { dtpye: 'int32' });", 'dtpye'],
  ["fw.crossEntropy(q, ids, { reduction: 'avg' });", 'avg'],
  ['declare const model: fw.models.CausalLM; model.forward(ids, { lables: ids });', 'lables'],
  ['declare const model: fw.models.CausalLM; model.generate([1], { maxNewTokns: 3 });', 'maxNewTokns'],
  ['declare const model: fw.models.CausalLM; model.createSession({ histroy: false });', 'histroy'],
  [
    "declare const run: fw.TrainingConfig; void fw.startRun({ model: { name: 'kda', hiddenSzie: 8 }, data: { task: 'copy', options: {} }, training: run, device: 'js' }, 'x');",
    'hiddenSzie',
  ],
  [
    "declare const run: fw.TrainingConfig; void fw.startRun({ model: { name: 'kda' }, data: { task: 'copy', options: { lenght: 3 } }, training: run, device: 'js' }, 'x');",
    'lenght',
  ],
  ['fw.data.tasks.parity({ maxLegnth: 3 });', 'maxLegnth'],
  ['const { finalState } = fw.deltaRule(q, q, q, {}); finalState.shape;', 'undefined'],
  ['const { finalState } = fw.deltaRule(q, q, q, { outputFinalState: flag }); finalState.shape;', 'undefined'],
  // States that some options leave out.
  [
    'fw.selfReferential({ x: q, wY: q, wQ: q, wK: q, wB: q }, { outputFinalState: true }).finalState.shape;',
    'undefined',
  ],
  ['fw.titans(q, q, q, { theta: q, alpha: q, eta: q, outputFinalState: true }).finalAnchor.shape;', 'undefined'],
  ['declare const model: fw.models.CausalLM; model.forward(ids).loss.item();', 'undefined'],
];

/** A family of a program and the types of its name. */
const OWN = `interface OwnKeys extends fw.models.CommonKeys<'own_model'> { depth?: number | null }
  declare module 'fast-weights' { interface ModelFamilies { 'own-model': OwnKeys } }`;

/** What must: results that are there because they were asked for. */
const RIGHT: string[] = [
  'fw.deltaRule(q, q, q, { outputFinalState: true }).finalState.shape;',
  'fw.linearAttention(q, q, q, { outputFinalState: true, normalize: true }).finalState.shape;',
  'fw.retention(q, q, q, { outputFinalState: true }).finalState.shape;',
  'fw.deltaProduct(q, q, q, { numHouseholder: 2, outputFinalState: true }).finalState.shape;',
  "fw.recurrence({ q, k: q, v: q }, { eraseFrom: 'decayed', outputFinalState: true }).finalState.shape;",
  'fw.shortConvolution(q, q, { outputFinalState: true }).finalState.shape;',
  'new fw.nn.ShortConvolution(4, 4).forward(q, { outputFinalState: true }).finalState.shape;',
  'fw.deltaRule(q, q, q, { outputFinalState: flag }).finalState?.shape;',
  'fw.selfReferential({ x: q, wY: q, wQ: q, wK: q, wB: q }, { outputFinalState: true }).finalShiftY.shape;',
  'fw.titans(q, q, q, { theta: q, alpha: q, eta: q, outputFinalState: true }).finalAnchor?.shape;',
  'declare const model: fw.models.CausalLM; model.forward(ids, { labels: ids }).loss.item();',
  'declare const model: fw.models.CausalLM; const { state } = model.forward(ids, { outputState: true }); model.forward(ids, { state });',
  'declare const model: fw.models.CausalLM; declare const some: fw.Tensor | null; model.forward(ids, { labels: some }).loss?.item();',
  ...[
    'linear-transformer',
    'retnet',
    'gla',
    'deltanet',
    'deltanet-2021',
    'gated-deltanet',
    'kda',
    'fast-weight-memory',
    'hqlt',
    'transformer',
    'lstm',
    'rnn',
    'elstm',
  ].map((name) => `fw.createModel('${name}', { vocabSize: 9, hiddenSize: 16, numHeads: 2, initializerRange: 0.1 });`),
  'declare const name: fw.ModelName; fw.createModel(name, { vocabSize: 9 });',
  "fw.createModel('gated-deltanet', { vocabSize: 9, attn: { layers: [1], num_heads: 4 }, numVHeads: 4 });",
  "fw.AutoModelForCausalLM.fromConfig({ model_type: 'llama', num_attention_heads: 2, rope_scaling: { type: 'linear', factor: 2 } });",
  // A family is called by its name or its model_type, in either place.
  "fw.createModel('delta_net', { vocabSize: 9, convSize: 3 });",
  "fw.AutoModelForCausalLM.fromConfig({ modelType: 'gated-deltanet', numVHeads: 4 });",
  `${OWN} fw.createModel('own-model', { vocabSize: 9, depth: 2 }); fw.createModel('own_model', { vocabSize: 9, depth: 2 });
   fw.AutoModelForCausalLM.fromConfig({ model_type: 'own_model', depth: 2 });
   declare const model: fw.models.ModelClass;
   fw.registerModel<OwnKeys>({ modelType: 'own_model', keys: { depth: true }, model });
   fw.registerModel({ modelType: 'another', keys: { depth: true }, model });`,
  `fw.registerRule('mine', fw.deltaRule); declare module 'fast-weights' { interface Rules { mine: typeof fw.deltaRule } }
   fw.getRule('mine')(q, q, q, { beta }); fw.getRule('rwkv6');`,
];

describe('programs', function () {
  this.timeout(120_000);
  const [ruleFile, ruleTest] = blocks('CONTRIBUTING.md', 'ts');
  const addedLine = /export \{ fadingDeltaRule \} from '.\/delta\/fadingDeltaRule';/.exec(
    readFileSync(path.join(repository, 'CONTRIBUTING.md'), 'utf8'),
  )![0];
  const virtual = new Map<string, string>();
  const put = (name: string, text: string): string => {
    const file = path.join(repository, name);
    virtual.set(file, text);
    return file;
  };
  const documents = ['README.md', ...readdirSync(path.join(repository, 'docs')).map((name) => `docs/${name}`)];
  const documented = documents
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => blocks(name, '[jt]s'))
    .filter((body) => body.includes("from 'fast-weights")) // others are parts of one
    .map((body, i) => put(`test/package/documented${i}.mts`, programText(body)));
  const right = RIGHT.map((body, i) => put(`test/package/right${i}.mts`, snippet(body)));
  const wrong = WRONG.map(([body], i) => put(`test/package/wrong${i}.mts`, snippet(body)));
  const index = path.join(repository, 'lib/rules/named.ts');
  put('lib/rules/named.ts', `${readFileSync(index, 'utf8')}\n${addedLine}\n`);
  const guide = [
    put('lib/rules/delta/fadingDeltaRule.ts', ruleFile),
    put('test/rules/fadingDeltaRule.test.ts', ruleTest),
  ];
  let messages: (file: string) => string[];

  before(() => {
    const options: ts.CompilerOptions = {
      strict: true,
      module: ts.ModuleKind.Node20,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      types: ['node', 'mocha'],
      skipLibCheck: true,
      noEmit: true,
    };
    const host = ts.createCompilerHost(options);
    const { fileExists, readFile, getSourceFile } = host;
    host.fileExists = (file) => virtual.has(file) || fileExists(file);
    host.readFile = (file) => virtual.get(file) ?? readFile(file);
    host.getSourceFile = (file, version, ...rest) =>
      virtual.has(file)
        ? ts.createSourceFile(file, virtual.get(file)!, version)
        : getSourceFile.call(host, file, version, ...rest);
    const program = ts.createProgram([...virtual.keys()], options, host);
    messages = (file) => {
      const source = program.getSourceFile(file)!;
      const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    };
  });

  it('of the README and the pages of docs', () => {
    expect(documented.length).to.be.greaterThan(10);
    for (const file of documented) expect(messages(file), virtual.get(file)).to.deep.equal([]);
  });

  it('of the guide to a new rule', () => {
    for (const file of guide) expect(messages(file), file).to.deep.equal([]);
  });

  it('that get what they asked for', () => {
    right.forEach((file, i) => expect(messages(file), RIGHT[i]).to.deep.equal([]));
  });

  it('with a typo do not compile', () => {
    wrong.forEach((file, i) => {
      const [body, word] = WRONG[i];
      const found = messages(file);
      expect(found, body).to.have.lengthOf(1);
      expect(found[0], body).to.include(word);
    });
  });
});
