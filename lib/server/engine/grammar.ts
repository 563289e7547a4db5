// Text that a grammar allows: masks over the vocabulary by XGrammar, an optional package.
import { isJsonObject, type Json, type Tokenizer } from '../../io';
import { compile, findModule, readFileSync } from '../../platform';
import { ApiError, invalid } from '../errors';
import { CompiledGrammars, type Disposable } from './compiledGrammars';
import { checkConstraint } from './grammarLimits';
import type { Constraint, ToolForm } from './protocol';

const PACKAGE = '@mlc-ai/web-xgrammar';

/** The part of the package that is used. */
interface XGrammar {
  TokenizerInfo: {
    createTokenizerInfo(
      vocabulary: readonly string[],
      kind: string,
      prependSpace: boolean,
      vocabSize: number,
      stopTokens: readonly number[],
    ): Promise<Disposable>;
  };
  GrammarCompiler: { createGrammarCompiler(info: Disposable, cacheEnabled: boolean): Promise<Compiler> };
  GrammarMatcher: {
    createGrammarMatcher(
      grammar: Disposable,
      stopTokens: readonly number[] | undefined,
      terminateWithoutStopToken: boolean,
    ): Promise<NativeMatcher>;
  };
  Grammar: {
    fromJSONSchema(schema: string): Promise<Grammar>;
    fromEBNF(grammar: string): Promise<Grammar>;
    fromStructuralTag(tag: object): Promise<Grammar>;
  };
}
interface Grammar extends Disposable {
  toString(): string;
}
interface Compiler extends Disposable {
  compileGrammar(grammar: Disposable): Promise<Disposable>;
}
interface NativeMatcher extends Disposable {
  acceptToken(id: number): boolean;
  getNextTokenBitmask(): Promise<Int32Array>;
  isTerminated(): boolean;
  reset(): void;
}

const MOST_LINES = 100;

/** A run of the package's program, which an error ends for good. */
interface Instance {
  api: XGrammar;
  /** The last lines that it has printed. */
  printed: string[];
}

/** The text is UMD in a package that says it is an ES module: neither kind of import takes it. */
function start(): Instance {
  const path = findModule(PACKAGE);
  if (path === undefined) {
    const message = `The server cannot constrain what models write: it needs a package, npm install ${PACKAGE}`;
    throw new ApiError(501, message, { param: 'response_format', code: 'unsupported' });
  }
  const exports = {};
  const printed: string[] = [];
  const print = (...words: unknown[]): void => void (printed.push(words.join(' ')) > MOST_LINES && printed.shift());
  const parameters = ['exports', 'module', 'process', 'location', 'console'];
  compile(readFileSync(path, 'utf8'), parameters, path)(
    exports,
    { exports },
    undefined, // it holds everything itself and asks for nothing of the system
    { href: 'file:///' },
    { log: print, warn: print, error: print },
  );
  return { api: exports as XGrammar, printed };
}

/** Which tokens a text may go on with. */
export interface Matcher {
  /** Takes over a token of the text; false where the text is complete with it and no stop token could say so. */
  accept(id: number): Promise<boolean>;
  /** Back to the empty text. */
  reset(): Promise<void>;
  /** Forbids the others. */
  mask(logits: Float32Array): void;
  dispose(): void;
}

/** Compiles grammars for one model's tokens. */
export class Grammars {
  private main: Promise<Instance & { compiler: Compiler }> | null = null;
  private readonly compiled = new CompiledGrammars();
  /** A run that reads grammars for the first time, one after the other: `trials` is the last of them. */
  private trial: Instance | null = null;
  private trials: Promise<void> = Promise.resolve();

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly vocabSize: number,
    private readonly stopTokens: readonly number[],
    private readonly toolForm: ToolForm | null,
  ) {}

  /** A constraint of some owner's request, for one text. */
  async matcher(constraint: Constraint, owner: string): Promise<Matcher> {
    const matcher = await this.compiled.use(
      owner,
      JSON.stringify(constraint),
      () => this.compile(constraint),
      async (grammar) => {
        const { api } = await this.instance();
        const endless = this.stopTokens.length === 0;
        return api.GrammarMatcher.createGrammarMatcher(grammar, undefined, endless);
      },
    );
    let words = await matcher.getNextTokenBitmask();
    return {
      accept: async (id) => {
        if (this.stopTokens.includes(id)) return true;
        if (!matcher.acceptToken(id)) throw new Error(`token ${id} does not fit the grammar that allowed it`);
        if (matcher.isTerminated()) return false;
        words = await matcher.getNextTokenBitmask();
        return true;
      },
      reset: async () => {
        matcher.reset();
        words = await matcher.getNextTokenBitmask();
      },
      mask: (logits) => forbid(logits, words),
      dispose: () => matcher.dispose(),
    };
  }

  private async compile(constraint: Constraint): Promise<Disposable> {
    checkConstraint(constraint);
    const tried = this.trials.then(() => this.read(constraint));
    this.trials = tried.catch(() => undefined);
    await tried;
    const { api, compiler } = await this.instance();
    const grammar = await this.parse(api, constraint);
    try {
      return await compiler.compileGrammar(grammar);
    } catch (error) {
      this.main = null;
      this.compiled.clear();
      throw error;
    } finally {
      grammar.dispose();
    }
  }

  /** What is wrong with a grammar ends the run that reads it: the first to read it has nothing else to lose. */
  private async read(constraint: Constraint): Promise<void> {
    const trial = (this.trial ??= start());
    trial.printed.length = 0;
    try {
      (await this.parse(trial.api, constraint)).dispose();
    } catch (error) {
      this.trial = null;
      if (error instanceof ApiError) throw error;
      // What the program throws of its own is a number.
      const reason = reasonOf(trial.printed) ?? (error instanceof Error ? error.message : 'XGrammar cannot read it');
      throw invalid('response_format', `The grammar or schema cannot be used: ${reason}`, 'invalid_grammar');
    }
  }

  private async parse(api: XGrammar, constraint: Constraint): Promise<Grammar> {
    const { Grammar } = api;
    switch (constraint.kind) {
      case 'json':
        return Grammar.fromJSONSchema('{"type":"object"}');
      case 'schema':
        return Grammar.fromEBNF(await strictJson(api, constraint.schema));
      case 'grammar':
        return Grammar.fromEBNF(constraint.grammar);
      case 'tools':
        return Grammar.fromStructuralTag(await toolCalls(api, constraint.tools, this.toolForm));
    }
  }

  private instance(): Promise<Instance & { compiler: Compiler }> {
    return (this.main ??= this.begin());
  }

  private async begin(): Promise<Instance & { compiler: Compiler }> {
    const { kind, tokens } = vocabularyOf(this.tokenizer);
    const instance = start();
    const { TokenizerInfo, GrammarCompiler } = instance.api;
    const stop = this.stopTokens.length > 0 ? this.stopTokens : [];
    const info = await TokenizerInfo.createTokenizerInfo(
      tokens.slice(0, this.vocabSize),
      kind,
      false,
      this.vocabSize,
      stop,
    );
    // What it would keep itself has no bound, and belongs to nobody.
    return { ...instance, compiler: await GrammarCompiler.createGrammarCompiler(info, false) };
  }
}

/**
 * With a length or a pattern XGrammar lets strings hold what JSON does not. Of what it makes of a schema, only strings are made
 * of all characters but some.
 */
async function strictJson({ Grammar }: XGrammar, schema: string): Promise<string> {
  const loose = await Grammar.fromJSONSchema(schema);
  const text = loose.toString().replace(/\[\^((?:\\.|[^\]\\])*)\]/g, String.raw`[^$1\"\\\0-\x1f]`);
  loose.dispose();
  return text;
}

function forbid(logits: Float32Array, words: Int32Array): void {
  let left = false;
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    if (word === -1) {
      left = true;
      continue;
    }
    const end = Math.min(logits.length, 32 * (at + 1));
    for (let i = 32 * at; i < end; i++) {
      if ((word >>> (i & 31)) & 1) left = true;
      else logits[i] = -Infinity;
    }
  }
  if (!left) throw new ApiError(400, 'No token of the model can go on with this grammar.', { code: 'invalid_grammar' });
}

/** The line that says what was wrong, without the place in the program. */
function reasonOf(printed: readonly string[]): string | undefined {
  const line = printed.find((each) => each.includes('[FATAL]'));
  return line?.replace(/^.*?\[FATAL\]\s*\S*:\s*/, '').slice(0, 500);
}

/** One or more calls, each as the model's template has them. */
async function toolCalls(
  api: XGrammar,
  tools: readonly { name: string; parameters: string }[],
  form: ToolForm | null,
): Promise<object> {
  const tag = (begin: string, content: object, end: string): object => ({ type: 'tag', begin, content, end });
  const tags: object[] = [];
  for (const { name, parameters } of tools) {
    switch (form) {
      case 'qwen-xml': {
        const xml = { type: 'qwen_xml_parameter', json_schema: JSON.parse(parameters) as object };
        tags.push(tag(`<tool_call>\n<function=${name}>\n`, xml, '\n</function>\n</tool_call>'));
        break;
      }
      case 'kimi':
        throw new ApiError(400, "Calls in this model's form cannot be forced: tool_choice 'auto' is what it has.", {
          param: 'tool_choice',
          code: 'unsupported_parameter',
        });
      default: {
        const json = { type: 'grammar', grammar: await strictJson(api, parameters) };
        tags.push(tag(`<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": `, json, '}\n</tool_call>'));
      }
    }
  }
  return {
    type: 'structural_tag',
    format: { type: 'tags_with_separator', tags, separator: '\n', at_least_one: true, stop_after_first: true },
  };
}

/** The tokens in the order of their ids as XGrammar wants them; special ones are '', which no text holds. */
function vocabularyOf(tokenizer: Tokenizer): { kind: 'raw' | 'byte_level' | 'byte_fallback'; tokens: string[] } {
  if (tokenizer.kind === 'byte') {
    const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0');
    return { kind: 'byte_fallback', tokens: Array.from({ length: 256 }, (_, byte) => `<0x${hex(byte)}>`) };
  }
  if (tokenizer.kind === 'character') {
    const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.decode([id]));
    return { kind: 'raw', tokens };
  }
  const definition = tokenizer.files()['tokenizer.json'] as Record<string, Json>;
  const { model, added_tokens: added = [] } = definition;
  const tokens = new Array<string>(tokenizer.vocabSize).fill('');
  const vocabulary = isJsonObject(model) ? model.vocab : [];
  if (Array.isArray(vocabulary)) vocabulary.forEach((entry, id) => (tokens[id] = String((entry as Json[])[0])));
  else for (const [token, id] of Object.entries(vocabulary as Record<string, number>)) tokens[id] = token;
  for (const each of (added as Json[]).filter(isJsonObject)) {
    tokens[each.id as number] = each.special === true ? '' : String(each.content);
  }
  // How its text is put together again says what its tokens stand for.
  const form = JSON.stringify([definition.decoder ?? null, definition.pre_tokenizer ?? null]);
  const kind = form.includes('"ByteLevel"') ? 'byte_level' : form.includes('"ByteFallback"') ? 'byte_fallback' : 'raw';
  return { kind, tokens };
}
