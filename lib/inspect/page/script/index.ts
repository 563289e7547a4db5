// The scripts of the two pages, in the order of what they build on.
import { chartsScript } from './charts';
import { drawScript } from './draw';
import { headsScript } from './heads';
import { liveScript } from './live';
import { mainScript, wholeScript } from './main';
import { numbersScript } from './numbers';
import { textScript } from './text';
import { tokenScript } from './token';
import { viewsScript } from './views';

const parts = [numbersScript, drawScript, chartsScript, textScript, tokenScript, viewsScript, headsScript, mainScript];

const scriptOf = (last: string): string => `'use strict';${[...parts, last].join('')}`;

/** Of a page that has its numbers. */
export const inspectionScript = scriptOf(wholeScript);

/** Of a page that asks a server for them. */
export const liveInspectionScript = scriptOf(liveScript);
