// Answers of /v1/responses that can be asked for again, each by the key that asked for it first: in memory, in files beside the
// states, or in Redis, where other servers find them.
import { createFolder, ioError, systemCode, writeFileAtomic } from '../io';
import { join, readdir, readFile, rm } from '../platform';
import { statesUnavailable } from './errors';
import { createdAt, isStoredId } from './ids';

/** Where they lie. Ids are those of `newId`, owners those of keys. */
export interface ResponseTexts {
  set(id: string, owner: string, body: string): Promise<void>;
  get(id: string, owner: string): Promise<string | undefined>;
  /** Whether there was one. */
  delete(id: string, owner: string): Promise<boolean>;
  /** Forgets those that were made before so many seconds since 1970. */
  sweep(oldest: number): Promise<void>;
  close(): void;
}

/** Keeps the latest, by their lengths; where there is no room those of the owner go who has most. */
export class TextsInMemory implements ResponseTexts {
  private readonly owners = new Map<string, { texts: Map<string, string>; length: number }>();
  private length = 0;

  constructor(private readonly most: number) {}

  async set(id: string, owner: string, body: string): Promise<void> {
    await this.delete(id, owner);
    if (body.length > this.most) return;
    const own = this.owners.get(owner) ?? { texts: new Map<string, string>(), length: 0 };
    this.owners.set(owner, own);
    own.texts.set(id, body);
    this.count(owner, body.length);
    while (this.length > this.most) {
      const [largest, { texts }] = [...this.owners].reduce((a, b) => (b[1].length > a[1].length ? b : a));
      const [[oldest, text]] = texts;
      texts.delete(oldest);
      this.count(largest, -text.length);
    }
  }

  async get(id: string, owner: string): Promise<string | undefined> {
    return this.owners.get(owner)?.texts.get(id);
  }

  async delete(id: string, owner: string): Promise<boolean> {
    const text = this.owners.get(owner)?.texts.get(id);
    if (text === undefined) return false;
    this.owners.get(owner)!.texts.delete(id);
    this.count(owner, -text.length);
    return true;
  }

  async sweep(oldest: number): Promise<void> {
    for (const [owner, { texts }] of this.owners) {
      for (const id of texts.keys()) if (createdAt(id) < oldest) await this.delete(id, owner);
    }
  }

  close(): void {
    this.owners.clear();
    this.length = 0;
  }

  private count(owner: string, length: number): void {
    this.owners.get(owner)!.length += length;
    this.length += length;
  }
}

/** A file for each, in a folder for each owner. There are as many as states of responses, whose number is bounded. */
export class TextsInFolder implements ResponseTexts {
  constructor(private readonly folder: string) {}

  async set(id: string, owner: string, body: string): Promise<void> {
    const bytes = new TextEncoder().encode(body);
    await answered(
      createFolder(join(this.folder, owner)).then(() =>
        writeFileAtomic(this.pathOf(id, owner), async (file) => void (await file.writeFile(bytes))),
      ),
    );
  }

  get(id: string, owner: string): Promise<string | undefined> {
    return answered(orMissing(readFile(this.pathOf(id, owner), 'utf8')));
  }

  async delete(id: string, owner: string): Promise<boolean> {
    return (await answered(orMissing(rm(this.pathOf(id, owner)).then(() => true)))) ?? false;
  }

  async sweep(oldest: number): Promise<void> {
    for (const owner of (await orMissing(readdir(this.folder))) ?? []) {
      for (const name of (await orMissing(readdir(join(this.folder, owner)))) ?? []) {
        const id = name.replace(/\.json$/, '');
        if (isStoredId(id, 'resp') && createdAt(id) < oldest) await this.delete(id, owner);
      }
    }
  }

  close(): void {
    // Nothing is held open.
  }

  private pathOf(id: string, owner: string): string {
    return join(this.folder, owner, `${id}.json`);
  }
}

/** What is used of a client of the package `ioredis`. */
export interface TextClient {
  set(key: string, value: string, expire: 'EX', seconds: number): Promise<unknown>;
  get(key: string): Promise<string | null>;
  del(key: string): Promise<number>;
  disconnect(): void;
}

/** Redis itself forgets them after so many seconds. */
export class TextsInRedis implements ResponseTexts {
  private readonly seconds: number;

  constructor(
    private readonly client: TextClient,
    seconds: number,
  ) {
    this.seconds = Math.max(1, Math.ceil(seconds));
  }

  async set(id: string, owner: string, body: string): Promise<void> {
    await answered(this.client.set(keyOf(id, owner), body, 'EX', this.seconds));
  }

  async get(id: string, owner: string): Promise<string | undefined> {
    return (await answered(this.client.get(keyOf(id, owner)))) ?? undefined;
  }

  async delete(id: string, owner: string): Promise<boolean> {
    return (await answered(this.client.del(keyOf(id, owner)))) > 0;
  }

  async sweep(): Promise<void> {
    // Redis does.
  }

  close(): void {
    this.client.disconnect();
  }
}

const keyOf = (id: string, owner: string): string => `fast-weights:response:${owner}.${id}`;

/** Undefined in place of the error that there is no such file or folder. */
async function orMissing<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw ioError('serve', 'texts of responses', error);
  }
}

/** What keeps them failing is a failure that another try may not meet. */
async function answered<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    throw statesUnavailable(cause);
  }
}
