// What neuroglancer shows of volumes, in headless Chromium; prints what was seen as one JSON object.
//   node neuroglancer.js <folder for screenshots> <JSON object of names and addresses>
// Needs playwright-core (NODE_PATH) and Chromium.
const { chromium } = require('playwright-core');

const [folder, words] = process.argv.slice(2);
const chromiumPath = process.env.CHROMIUM || '/usr/bin/chromium';
const DRAWN_BY_THE_CPU = ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];

const ready = () => {
  const layer = window.viewer && viewer.layerManager.managedLayers[0];
  return layer && layer.isReady() && viewer.isReady();
};

// A third of each panel is filled by the volume.
const fill = () => {
  const { lowerBounds, upperBounds } = viewer.navigationState.coordinateSpace.value.bounds;
  const longest = Math.max(...Array.from(upperBounds, (upper, axis) => upper - lowerBounds[axis]));
  viewer.navigationState.zoomFactor.value = (viewer.navigationState.zoomFactor.value * longest) / 150;
};

// The middle voxel as the layer has it, and where it lies.
const look = () => {
  const { layer } = viewer.layerManager.managedLayers[0];
  const space = viewer.navigationState.coordinateSpace.value;
  const position = Float32Array.from(viewer.position.value);
  return {
    error: layer.dataSources[0].loadState.error ? String(layer.dataSources[0].loadState.error) : null,
    type: layer.type,
    axes: space.names,
    units: space.units,
    scales: Array.from(space.scales),
    lower: Array.from(space.bounds.lowerBounds),
    upper: Array.from(space.bounds.upperBounds),
    position: Array.from(position),
    value: layer.renderLayers[0].getValueAt(position),
  };
};

(async () => {
  const browser = await chromium.launch({ executablePath: chromiumPath, args: DRAWN_BY_THE_CPU });
  const seen = {};
  for (const [name, address] of Object.entries(JSON.parse(words))) {
    const page = await browser.newPage({ viewport: { width: 900, height: 700 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(address);
    await page.waitForFunction(ready, null, { timeout: 60000 });
    await page.evaluate(fill);
    await page.waitForTimeout(200);
    await page.waitForFunction(ready, null, { timeout: 60000 });
    seen[name] = { ...(await page.evaluate(look)), errors };
    await page.screenshot({ path: `${folder}/${name}.png` });
    await page.close();
  }
  await browser.close();
  console.log(JSON.stringify(seen, (key, value) => (typeof value === 'bigint' ? Number(value) : value)));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
