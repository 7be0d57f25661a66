// The browser's side of NiivueViewer (viewer.py). Gradio runs this once, as the body of a function of
// `element`, `props`, `trigger` and `watch`; afterwards every new value of the component only calls `update`.
// Voxels are counted along right, anterior, superior here, whatever order the file has.

const root = element.querySelector('.us-viewer');
const find = (selector) => root.querySelector(selector);
const presets = find('.us-window');
const canvas = find('canvas'), message = find('.us-message'), status = find('.us-status'), legend = find('.us-legend');

const AXIAL = 0, CORONAL = 1, SAGITTAL = 2, MULTI = 3, RENDER = 4;  // NiiVue's numbers
const IMAGE_IN_3D = 0.2;   // opacity there, so that structures are seen through the body
const BY_PROCESSOR = /swiftshader|llvmpipe|softpipe|software|basic render/i;  // names of what draws where there is no graphics card
const FRONT = [160, 12];   // azimuth and elevation from which 3D is first seen

const hidden = new Set();  // names of structures that are not shown
let loaded = {image: '', labels: '', window: ''};
let voxels = null;         // label values as they came, none of them hidden
let place = null;          // the crosshair, [right, anterior, superior] in mm

element.closest('.html-container')?.style.setProperty('padding', '0');  // Gradio's, which would cost a phone 24 of 360 pixels

function say(text) {
  message.textContent = text;
  message.hidden = !text;
}

function giveUp(text) {
  say(text);
  root.dataset.state = 'unavailable';
  trigger('nowebgl');
}

const gl = document.createElement('canvas').getContext('webgl2');
if (!gl) {
  giveUp('This browser does not offer WebGL2, which the 3D viewer needs. The plain slices show the same.');
  return;
}
if (typeof niivue === 'undefined') {
  giveUp('The 3D viewer could not be loaded. The plain slices show the same.');
  return;
}

// Without a graphics card 3D beside the planes would take seconds at every step; its own button shows it still.
const BESIDE_PLANES = niivue.SHOW_RENDER[BY_PROCESSOR.test(rendererOf(gl)) ? 'NEVER' : 'ALWAYS'];

function rendererOf(gl) {
  const told = gl.getExtension('WEBGL_debug_renderer_info');
  const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : gl.getParameter(gl.RENDERER);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return String(name);
}

class Viewer extends niivue.Niivue {
  refreshLayers(volume, layer) {  // the image, with its gradient, only if it changed: that takes many times what labels take
    if (layer === 0) {
      const now = [volume.id, volume.cal_min, volume.cal_max, volume.opacity, this.volumes.length].join();
      if (now === this.imageDrawn) return;
      this.imageDrawn = now;
    }
    super.refreshLayers(volume, layer);
  }

  drawImage3D(...view) {  // one opacity for slices and another for 3D, both in one picture
    this.renderShader.use(this.gl);
    this.gl.uniform1f(this.renderShader.uniforms.backOpacity, this.volumes.length > 1 ? IMAGE_IN_3D : 1);
    super.drawImage3D(...view);
  }

  drawCrosshairs3D(...view) {  // as wide on the screen in every tile, at every zoom and spacing; NiiVue knows only mm and voxels
    const tile = this.screenSlices.at(-1);
    if (tile && tile.axCorSag !== RENDER) {
      const pixelMm = this.uiData.dpr * Math.abs(tile.fovMM[0]) / tile.leftTopWidthHeight[2];
      this.opts.crosshairWidth = 1.3 * pixelMm;
      this.opts.crosshairGap = 6 * pixelMm;
      if (this.crosshairs3D) this.crosshairs3D.mm = [NaN];  // drawn before, for another tile
    }
    super.drawCrosshairs3D(...view);
  }
}

const nv = new Viewer({
  backColor: [0, 0, 0, 1], clipPlaneColor: [0.4, 0.42, 0.46, 0.3], crosshairColor: [0.85, 0.9, 0.95, 1], crosshairWidthUnit: 'mm', fontColor: [0.9, 0.9, 0.9, 1],
  show3Dcrosshair: true, isClipAllVolumes: true, isRadiologicalConvention: true, sagittalNoseLeft: true, multiplanarShowRender: BESIDE_PLANES,
  multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID, multiplanarPadPixels: 4, dragMode: niivue.DRAG_MODE.windowing, dragAndDropEnabled: false, loadingText: '', logLevel: 'error',
});
nv.scene.renderAzimuth = FRONT[0];
nv.scene.renderElevation = FRONT[1];
const attached = nv.attachToCanvas(canvas);
canvas.addEventListener('webglcontextlost', () => say('The graphics driver has given up. Reload the page, or use the plain slices.'));

// --- what is shown

let queue = Promise.resolve();
const update = () => { queue = queue.then(show).catch((error) => { root.dataset.state = 'failed'; say('The image cannot be shown: ' + error.message); }); };

async function show() {
  const scene = props.value;
  await attached;
  if (!scene || !scene.image) return clear();
  root.dataset.state = 'loading';
  if (scene.image.url !== loaded.image) await loadImage(scene);
  setWindow(scene);
  if (!scene.labels) dropLabels();
  else if (scene.labels.url !== loaded.labels) await loadLabels(scene);
  showHeat(scene.heat);
  nv.createOnLocationChange();
  say('');
  root.dataset.state = 'ready';
  trigger('loaded');
}

function unload() {
  while (nv.volumes.length) nv.removeVolume(nv.volumes.at(-1));  // or NiiVue would keep them in memory
  loaded = {image: '', labels: '', window: ''};
  voxels = place = null;
}

function clear() {
  unload();
  drawLegend([]);
  status.replaceChildren();
  say('No image yet.');
  root.dataset.state = 'empty';
}

async function loadImage(scene) {
  unload();
  say('Loading the image…');
  await nv.loadVolumes([{url: scene.image.url, name: 'image.nii.gz', colormap: 'gray', ...limits(scene.windows[0])}]);
  loaded = {image: scene.image.url, labels: '', window: nameOf(scene.windows[0])};
  center();
  follow(window.unisegViewer);
}

// Go where another viewer of the same image is.
function follow(other) {
  if (other && other !== root.viewer && other.image() && other.image() === loaded.image) goTo(other.position());
}

const limits = ({low, high}) => ({cal_min: low, cal_max: high}), nameOf = (window) => JSON.stringify(window);

function setWindow(scene) {
  const [first] = scene.windows;
  drawWindows(scene.windows);
  if (nameOf(first) === loaded.window) return;  // what the user has chosen stays
  loaded.window = nameOf(first);
  showWindow(first);
  presets.selectedIndex = 0;
}

function showWindow(window) {
  Object.assign(nv.volumes[0], limits(window));
  nv.updateGLVolume();
}

function drawWindows(windows) {
  const key = JSON.stringify(windows);
  if (key === presets.dataset.key) return;
  const chosen = presets.value;
  presets.replaceChildren(...windows.map(({name}) => new Option(name)));
  presets.dataset.key = key;
  presets.selectedIndex = Math.max(0, windows.findIndex(({name}) => name === chosen));
  presets.hidden = false;
}

// Labels are exchanged within their volume, so that neither the image nor the crosshair is touched.
async function loadLabels(scene) {
  const fresh = await niivue.NVImage.loadFromUrl({url: scene.labels.url, name: 'labels.nii.gz'});
  const [grid, wanted] = [fresh, nv.volumes[0]].map((volume) => String(volume.hdr.dims.slice(1, 4)));
  if (grid !== wanted) {
    dropLabels();
    throw new Error('the labels are not on the grid of the image');
  }
  voxels = fresh.img;
  const labels = nv.volumes[1] || fresh;
  labels.setColormapLabel(scene.colors);
  labels.img = visibleVoxels();
  labels.opacity = find('.us-opacity input').value / 100;
  if (labels === fresh) nv.addVolume(fresh); else nv.updateGLVolume();
  loaded.labels = scene.labels.url;
}

function dropLabels() {
  if (nv.volumes.length > 1) nv.removeVolume(nv.volumes[1]);
  loaded.labels = '';
  voxels = null;
}

// A clear colour would not do: NiiVue mixes neighbours' colours at borders and draws the outline of clear structures, too.
function visibleVoxels() {
  const shown = Uint8Array.from({length: 256}, (_, value) => value);
  for (const structure of props.value.structures) if (hidden.has(structure.name)) shown[structure.value] = 0;
  return voxels.map((value) => shown[value]);
}

// Numbers as colours fill the body: there is nothing to see of them in 3D, and no outline.
function showHeat(heat) {
  root.classList.toggle('us-heat', !!heat);
  nv.opts.multiplanarShowRender = heat ? niivue.SHOW_RENDER.NEVER : BESIDE_PLANES;
  if (heat && nv.opts.sliceType === RENDER) nv.setSliceType(MULTI);
  const lined = heat ? 0 : Number(outline.getAttribute('aria-pressed') === 'true');
  if (lined !== nv.opts.atlasOutline) nv.setAtlasOutline(lined);
  if (heat) drawRamp(heat); else drawLegend(props.value.structures);
  nv.drawScene();
}

function drawRamp({name, low, high, ramp}) {
  const parts = [number(low), '', number(high), name].map((text) => Object.assign(document.createElement('span'), {textContent: text}));
  parts[1].className = 'us-ramp';
  parts[1].style.background = 'linear-gradient(to right,' + ramp.join() + ')';
  legend.replaceChildren(...parts);
  delete legend.dataset.key;
}

const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace('-', '\u2212');

function heatAt(heat, mm, level) {
  if (heat.cells) {
    const at = heat.to_cells.map((row) => Math.round(row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3]));
    if (at.some((n, axis) => n < 0 || n >= heat.shape[axis])) return null;
    const value = heat.cells[(at[0] * heat.shape[1] + at[1]) * heat.shape[2] + at[2]];
    return value === null ? null : number(value);
  }
  return level ? 'about ' + number(heat.low + (heat.high - heat.low) * (level - 1) / 253, 2) : 'under ' + heat.clear_below;
}

// --- the legend

function drawLegend(structures) {
  const key = JSON.stringify(structures.map(({value, name, color}) => [value, name, color]));
  if (key !== legend.dataset.key) legend.replaceChildren(...structures.map(legendItem));  // else a button would lose the focus
  legend.dataset.key = key;
  structures.forEach(({center_mm}, i) => {
    const jump = legend.children[i].lastChild;
    jump.disabled = !center_mm;
    jump.title = center_mm ? 'Go to ' + jump.textContent : 'Not found, or covered by others';
  });
}

function legendItem({name, color}) {
  const item = document.createElement('span'), toggle = document.createElement('button'), jump = document.createElement('button');
  item.className = 'us-item';
  item.style.setProperty('--us-color', color);
  toggle.type = jump.type = 'button';
  toggle.append(dot(color));
  toggle.setAttribute('aria-label', 'Show ' + name);
  toggle.title = 'Show or hide ' + name;
  toggle.setAttribute('aria-pressed', String(!hidden.has(name)));
  toggle.onclick = () => setVisible(name, hidden.has(name));
  jump.textContent = name;
  jump.onclick = () => goTo(props.value.structures.find((structure) => structure.name === name).center_mm);
  item.append(toggle, jump);
  return item;
}

function dot(color) {
  const mark = document.createElement('span');
  mark.className = 'us-dot';
  mark.style.setProperty('--us-color', color);
  return mark;
}

function setVisible(name, isVisible) {
  if (isVisible) hidden.delete(name); else hidden.add(name);
  props.value.structures.forEach((structure, i) => {
    if (structure.name === name) legend.children[i].firstChild.setAttribute('aria-pressed', String(isVisible));
  });
  if (!voxels) return;
  nv.volumes[1].img = visibleVoxels();
  nv.updateGLVolume();
  nv.createOnLocationChange();
}

// --- where the crosshair is

function goTo(mm) {
  if (!mm || !nv.volumes.length) return;
  nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
  nv.createOnLocationChange();
  nv.drawScene();
}

function center() {
  nv.scene.crosshairPos = [0.5, 0.5, 0.5];
  nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
  nv.createOnLocationChange();
  nv.drawScene();
}

nv.onLocationChange = ({mm, values}) => {
  const scene = props.value;
  if (!scene || !values.length) return;  // the mouse moves over an empty picture
  place = Array.from(mm).slice(0, 3);
  const names = [['L', 'R'], ['P', 'A'], ['I', 'S']];
  const parts = [place.map((at, axis) => names[axis][Number(at >= 0)] + ' ' + Math.abs(at).toFixed(1)).join(', ') + ' mm'];
  const grey = values[0].value;
  parts.push(scene.unit === 'HU' ? Math.round(grey) + ' HU' : (Number(grey.toPrecision(4)) + ' ' + scene.unit).trim());
  const told = scene.heat && heatAt(scene.heat, place, Math.round(values[1]?.value ?? 0));
  if (told) parts.push(scene.heat.name + ': ' + told);
  status.replaceChildren(...parts.map((text) => Object.assign(document.createElement('span'), {textContent: text})));
  if (scene.heat) return;
  const structure = values[1] && scene.structures.find(({value}) => value === Math.round(values[1].value));
  if (!structure) return;
  const name = document.createElement('span');
  name.append(dot(structure.color), ' ' + structure.name);
  status.append(name);
};

// --- controls

const press = (button, on) => button.setAttribute('aria-pressed', String(on));
const views = [...root.querySelectorAll('[data-view]')];
views.forEach((button) => { button.onclick = () => nv.setSliceType(Number(button.dataset.view)); });
nv.onSliceTypeChange = (type) => views.forEach((button) => press(button, Number(button.dataset.view) === type));

find('.us-opacity input').oninput = ({target}) => requestAnimationFrame(() => { if (nv.volumes[1]) nv.setOpacity(1, target.value / 100); });

const outline = find('.us-outline');
outline.onclick = () => {
  press(outline, outline.getAttribute('aria-pressed') !== 'true');
  nv.setAtlasOutline(Number(outline.getAttribute('aria-pressed') === 'true'));
};

const sides = find('.us-sides');
function showSides() {
  const radiological = nv.opts.isRadiologicalConvention;
  sides.textContent = radiological ? 'R | L' : 'L | R';
  sides.setAttribute('aria-label', sides.textContent + (radiological ? ' radiological' : ' neurological'));
  sides.title = 'The patient\'s ' + (radiological ? 'right' : 'left') + ' is on the left of the picture. Press to change.';
  sides.classList.toggle('us-unusual', !radiological);
}
sides.onclick = () => { nv.setRadiologicalConvention(!nv.opts.isRadiologicalConvention); showSides(); };
showSides();

presets.onchange = () => showWindow(props.value.windows[presets.selectedIndex]);
nv.onIntensityChange = () => { presets.selectedIndex = -1; };  // set by hand

find('.us-save').onclick = () => { if (nv.volumes.length) nv.saveScene('uniseg.png'); };

find('.us-reset').onclick = () => {
  if (!nv.volumes.length) return;
  loaded.window = '';
  setWindow(props.value);
  nv.setRenderAzimuthElevation(...FRONT);
  nv.setClipPlane([2, 0, 0]);  // beyond the image: nothing is cut
  center();
};

// Of NiiVue's own keys only H, J, K, L, V and C are let through: arrows would do nothing, and ? would open an alert.
canvas.addEventListener('keydown', (event) => {
  const step = nv.volumes.length && stepOf(event.key);
  if (step) {
    event.preventDefault();
    if (nv.opts.sliceType === RENDER) nv.setRenderAzimuthElevation(nv.scene.renderAzimuth + 5 * step[0], nv.scene.renderElevation + 5 * step[1]);
    else nv.moveCrosshairInVox(...step);
  }
  if (step || !['KeyH', 'KeyJ', 'KeyK', 'KeyL'].includes(event.code)) event.stopImmediatePropagation();
}, true);

function stepOf(key) {
  const type = nv.opts.sliceType, across = [nv.opts.isRadiologicalConvention ? -1 : 1, 0, 0];
  const [right, up, deeper] = {
    [CORONAL]: [across, [0, 0, 1], [0, 1, 0]],
    [SAGITTAL]: [[0, -1, 0], [0, 0, 1], [1, 0, 0]],
    [RENDER]: [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
  }[type] || [across, [0, 1, 0], [0, 0, 1]];
  const back = (step) => step.map((n) => -n);
  return {ArrowRight: right, ArrowLeft: back(right), ArrowUp: up, ArrowDown: back(up), PageUp: deeper, PageDown: back(deeper)}[key];
}

// For events of other components (`js=`), for other viewers, and for tests. The page's first viewer is known by name.
root.viewer = {nv, goTo, follow, setVisible, position: () => place, image: () => loaded.image, isHere: () => root.isConnected};
if (!window.unisegViewer?.isHere()) window.unisegViewer = root.viewer;

watch('value', update);
update();
