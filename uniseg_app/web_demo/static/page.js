// What the server cannot do: refuse files before they are sent, and know what this tab showed before it was loaded anew.
() => {
  const say = (words, near) => {  // under the place for files that was used
    const note = near?.closest('.us-left')?.querySelector('.us-note') ?? document.querySelector('.us-note');
    if (note) note.textContent = words;
  };

  const check = (event) => {
    const files = event.type === 'drop' ? event.dataTransfer?.files : event.target.type === 'file' && event.target.files;
    if (!files || (event.type === 'drop' && !event.target.closest?.('.us-upload, .us-zip'))) return;
    const megabytes = [...files].reduce((sum, file) => sum + file.size, 0) / 1e6;
    say(megabytes > MOST_MB ? `${megabytes.toFixed(1)} MB are too much for this server: it takes ${MOST_MB} MB at once. Crop the scan, or use the command line.` : '', event.target);
    if (megabytes <= MOST_MB) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === 'change') event.target.value = '';
  };
  for (const type of ['change', 'drop']) document.addEventListener(type, check, true);

  const forgotten = sessionStorage.getItem('us-title');
  sessionStorage.removeItem('us-title');
  if (forgotten) say(`The page was loaded anew, and ${forgotten} is not here any more: drop it again.`);
  window.addEventListener('pagehide', () => {
    const title = document.querySelector('.us-image strong')?.textContent ?? '';
    if (title && !title.startsWith('Example: ')) sessionStorage.setItem('us-title', title);
  });
}
