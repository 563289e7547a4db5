// The U-Net behind a Fast Weight Painter, which refines what was painted (Irie and Schmidhuber 2023, spec 2.7; the net is that of
// lucidrains' denoising-diffusion-pytorch without its time).
import { argumentError, checkInteger, checkOptions, type OptionNames, type Tensor } from '../../../core';
import { Conv2d, GroupNorm, Module, parameter } from '../../../nn';
import { cat, checkFloat, conv2d, ones, rand, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../../ops';

/** Options of `PainterUNet`. */
export interface PainterUNetOptions extends TensorOptions {
  /** Channels of the image: 3 by default. */
  channels?: number;
  /** Channels of the finest features, a multiple of 8: 64, the size of the published images, by default. */
  width?: number;
  /** Of the width at each resolution, half as fine as the one before: [1, 2, 4] by default. */
  multipliers?: readonly number[];
  /** Of every attention: 4 by default. */
  heads?: number;
  /** Width of a head: 32 by default. */
  headDim?: number;
  /** Whether the image goes through tanh before the net; false by default. */
  inputTanh?: boolean;
  /** Whether the result does; true by default, as of the painters. */
  outputTanh?: boolean;
}

const OPTIONS: OptionNames<PainterUNetOptions> = {
  ...TENSOR_OPTIONS,
  channels: true,
  width: true,
  multipliers: true,
  heads: true,
  headDim: true,
  inputTanh: 'flag',
  outputTanh: 'flag',
};
const GROUPS = 8;

/** Norm of the channels of every pixel. */
class ChannelNorm extends Module {
  g: Tensor;
  b: Tensor;

  constructor(channels: number, place: TensorOptions) {
    super();
    this.g = parameter(ones([1, channels, 1, 1], place));
    this.b = parameter(zeros([1, channels, 1, 1], place));
  }

  forward(x: Tensor): Tensor {
    const centred = x.sub(x.mean(1, true));
    return centred.mul(centred.square().mean(1, true).add(1e-5).rsqrt()).mul(this.g).add(this.b);
  }
}

/** silu(GroupNorm(conv x)) */
class ConvolutionBlock extends Module {
  proj: Conv2d;
  norm: GroupNorm;

  constructor(from: number, to: number, place: TensorOptions) {
    super();
    this.proj = new Conv2d(from, to, 3, { padding: 1, ...place });
    this.norm = new GroupNorm(GROUPS, to, place);
  }

  forward(x: Tensor): Tensor {
    return this.norm.forward(this.proj.forward(x)).silu();
  }
}

/** Two of them beside x, through a convolution where the channels differ. */
class ResidualBlock extends Module {
  block1: ConvolutionBlock;
  block2: ConvolutionBlock;
  res_conv: Conv2d | null;

  constructor(from: number, to: number, place: TensorOptions) {
    super();
    this.block1 = new ConvolutionBlock(from, to, place);
    this.block2 = new ConvolutionBlock(to, to, place);
    this.res_conv = from === to ? null : new Conv2d(from, to, 1, place);
  }

  forward(x: Tensor): Tensor {
    return this.block2.forward(this.block1.forward(x)).add(this.res_conv?.forward(x) ?? x);
  }
}

type Heads = { heads: number; headDim: number };

/** x + attention of its normed pixels to all of them: softmax over pixels, or over keys and queries apart. */
class PixelAttention extends Module {
  /** The published names: fn.norm, fn.fn. */
  fn: { norm: ChannelNorm; fn: { to_qkv: Conv2d; to_out: Conv2d | { '0': Conv2d; '1': ChannelNorm } } };

  constructor(
    channels: number,
    private readonly linear: boolean,
    private readonly sizes: Heads,
    place: TensorOptions,
  ) {
    super();
    const inner = sizes.heads * sizes.headDim;
    const out = new Conv2d(inner, channels, 1, place);
    this.fn = {
      norm: new ChannelNorm(channels, place),
      fn: {
        to_qkv: new Conv2d(channels, 3 * inner, 1, { bias: false, ...place }),
        to_out: linear ? { '0': out, '1': new ChannelNorm(channels, place) } : out,
      },
    };
  }

  forward(x: Tensor): Tensor {
    const [B, , rows, columns] = x.shape;
    const { heads, headDim } = this.sizes;
    const { to_qkv, to_out } = this.fn.fn;
    const all = to_qkv.forward(this.fn.norm.forward(x)).reshape(B, 3, heads, headDim, rows * columns);
    const [q, k, v] = [0, 1, 2].map((i) => all.select(1, i));
    const scale = headDim ** -0.5;
    const read = this.linear
      ? v.matmul(k.softmax(-1).transpose(2, 3)).matmul(q.softmax(-2).mul(scale))
      : v.matmul(q.mul(scale).transpose(2, 3).matmul(k).softmax(-1).transpose(2, 3));
    const image = read.reshape(B, heads * headDim, rows, columns);
    return x.add(to_out instanceof Conv2d ? to_out.forward(image) : to_out[1].forward(to_out[0].forward(image)));
  }
}

/** Twice as fine: the transpose of a convolution with windows of 4 at every second place. */
class Upsample extends Module {
  /** [in, out, 4, 4] */
  weight: Tensor;
  bias: Tensor;

  constructor(channels: number, place: TensorOptions) {
    super();
    const bound = (16 * channels) ** -0.5;
    const draw = (shape: number[]): Tensor => parameter(rand(shape, { ...place, low: -bound, high: bound }));
    this.weight = draw([channels, channels, 4, 4]);
    this.bias = draw([channels]);
  }

  forward(x: Tensor): Tensor {
    const [B, C, rows, columns] = x.shape;
    const spread = x.reshape(B, C, rows, 1, columns, 1).pad([0, 1, 0, 0, 0, 1]);
    const around = spread.reshape(B, C, 2 * rows, 2 * columns).pad([2, 1, 2, 1]);
    return conv2d(around, this.weight.transpose(0, 1).flip([2, 3]), { bias: this.bias });
  }
}

/** Two blocks and attention; '3' leads to the next resolution and is absent at the last. */
type Level<Next> = { '0': ResidualBlock; '1': ResidualBlock; '2': PixelAttention; '3'?: Next };

const through = (level: Level<Module>, x: Tensor): Tensor => level[2].forward(level[1].forward(level[0].forward(x)));

/**
 * An image [B, channels, n, n] to another: down to coarser features, attention, and up again beside what was there before. Put
 * behind a painter with `new Sequential({ painter, u_net })`. Names and new weights of the published program (`Unet`).
 */
export class PainterUNet extends Module {
  /** From the image to the finest features, windows of 7. */
  init_conv: Conv2d;
  /** From fine to coarse: two blocks, linear attention, and but for the last a convolution to half as many rows. */
  downs: Level<Conv2d>[];
  /** The coarsest features. */
  mid_block1: ResidualBlock;
  /** Softmax attention among their pixels. */
  mid_attn: PixelAttention;
  /** Behind it. */
  mid_block2: ResidualBlock;
  /** From coarse to fine, beside what was there on the way down. */
  ups: Level<Upsample>[];
  /** The finest features, beside those of `init_conv`. */
  final_res_block: ResidualBlock;
  /** To the image. */
  final_conv: Conv2d;
  /** Of the image. */
  readonly channels: number;
  private readonly inputTanh: boolean;
  private readonly outputTanh: boolean;

  /** INVALID_ARGUMENT where width is no multiple of 8. */
  constructor(options: PainterUNetOptions = {}) {
    super();
    const where = 'PainterUNet';
    checkOptions(where, options, OPTIONS);
    const { channels = 3, width = 64, multipliers = [1, 2, 4], heads = 4, headDim = 32, ...rest } = options;
    const { inputTanh = false, outputTanh = true, ...place } = rest;
    for (const [name, size] of Object.entries({ channels, width, heads, headDim })) checkInteger(where, name, size, 1);
    if (!Array.isArray(multipliers) || multipliers.length === 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'multipliers', 'one number at least', String(multipliers));
    }
    multipliers.forEach((factor, i) => checkInteger(where, `multipliers[${i}]`, factor as number, 1));
    if (width % GROUPS !== 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'width', `a multiple of ${GROUPS}`, String(width));
    }
    [this.channels, this.inputTanh, this.outputTanh] = [channels, inputTanh, outputTanh];
    const sizes = { heads, headDim };
    const widths = [width, ...multipliers.map((factor) => factor * width)];
    const levels = multipliers.map((_, i) => [widths[i], widths[i + 1]] as const);
    const block = (from: number, to: number): ResidualBlock => new ResidualBlock(from, to, place);
    const attention = (n: number, linear: boolean): PixelAttention => new PixelAttention(n, linear, sizes, place);
    this.init_conv = new Conv2d(channels, width, 7, { padding: 3, ...place });
    this.downs = levels.map(([from, to], i) => ({
      '0': block(from, to),
      '1': block(to, to),
      '2': attention(to, true),
      ...(i < levels.length - 1 && { '3': new Conv2d(to, to, 4, { stride: 2, padding: 1, ...place }) }),
    }));
    const middle = widths[widths.length - 1];
    this.mid_block1 = block(middle, middle);
    this.mid_attn = attention(middle, false);
    this.mid_block2 = block(middle, middle);
    this.ups = [...levels].reverse().map(([from, to], i) => ({
      '0': block(2 * to, from),
      '1': block(from, from),
      '2': attention(from, true),
      ...(i < levels.length - 1 && { '3': new Upsample(from, place) }),
    }));
    this.final_res_block = block(2 * width, width);
    this.final_conv = new Conv2d(width, channels, 1, place);
  }

  /** image [B, channels, n, n], n a multiple of 2 for every resolution but the first. */
  forward(image: Tensor): Tensor {
    const where = 'PainterUNet';
    checkFloat(where, 'image', image);
    const factor = 2 ** (this.downs.length - 1);
    const [, C, rows, columns] = image.shape;
    if (image.ndim !== 4 || C !== this.channels || rows % factor !== 0 || columns % factor !== 0) {
      const expected = `[batch, ${this.channels}, rows, columns], both multiples of ${factor}`;
      throw argumentError('SHAPE', where, 'image', expected, `[${image.shape.join(', ')}]`);
    }
    const first = this.init_conv.forward(this.inputTanh ? image.tanh() : image);
    const before: Tensor[] = [];
    let x = first;
    for (const level of this.downs) {
      x = through(level, x);
      before.push(x);
      x = level[3]?.forward(x) ?? x;
    }
    x = this.mid_block2.forward(this.mid_attn.forward(this.mid_block1.forward(x)));
    for (const level of this.ups) {
      x = through(level, cat([x, before.pop()!], 1));
      x = level[3]?.forward(x) ?? x;
    }
    const refined = this.final_conv.forward(this.final_res_block.forward(cat([x, first], 1)));
    return this.outputTanh ? refined.tanh() : refined;
  }
}
