// The sign-in page: takes a session that still lives into use, else asks for a password.
'use strict';

const TIMEOUT_MS = 10000;
// Coming back here so often in so short a time means that the page behind refuses the session.
const RETURNS_MAX = 4;
const RETURNS_MS = 15000;
const LOCK = 'informania-session';
const SERVICE_DOWN = 'The service does not answer. Nothing was changed. Try again in a moment.';

const byId = (id) => document.getElementById(id);
const form = byId('form');
const submit = byId('submit');
let waiting = 0;

class ServiceDown extends Error {}

// Every call names its purpose in `rid`, which no other site can add.
async function call(method, path, body) {
  const headers = { rid: 'sign-in', Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ServiceDown();
  }
  if (answer.status >= 500) throw new ServiceDown();
  return answer;
}

async function content(answer) {
  try {
    return (await answer.json()) ?? {};
  } catch {
    return {};
  }
}

// One tab at a time: two that refresh together look like a stolen token, which ends the session.
async function alone(work) {
  return navigator.locks ? navigator.locks.request(LOCK, work) : work();
}

// Whether there is a session. A refreshed token counts from its first use on, which is the last
// question here, so another tab finds the session alive and need not refresh it again.
async function hasSession() {
  if ((await call('GET', '/api/session')).ok) return true;
  if (!(await call('POST', '/auth/session/refresh')).ok) return false;
  return (await call('GET', '/api/session')).ok;
}

async function endSession() {
  let answer = await call('POST', '/auth/signout');
  if (answer.status === 401 && (await call('POST', '/auth/session/refresh')).ok) {
    await call('GET', '/api/session');
    answer = await call('POST', '/auth/signout');
  }
  // Without a session there is nothing left to end.
  return answer.ok || answer.status === 401;
}

function target() {
  const wanted = new URL(document.body.dataset.next, window.location.origin);
  return wanted.origin === window.location.origin ? wanted.href : '/';
}

function goOn() {
  byId('status').textContent = 'Signed in. Opening the dashboard…';
  window.location.replace(target());
}

// Remembers how often a session was found and refused again; a broken memory counts as none.
function returnsTooOften() {
  try {
    const since = Date.now() - RETURNS_MS;
    const kept = JSON.parse(window.sessionStorage.getItem('returns') ?? '[]');
    const times = [...kept.filter((time) => time > since), Date.now()];
    window.sessionStorage.setItem('returns', JSON.stringify(times));
    return times.length > RETURNS_MAX;
  } catch {
    return false;
  }
}

function forgetReturns() {
  try {
    window.sessionStorage.removeItem('returns');
  } catch {
    // Without a memory there is nothing to forget.
  }
}

function say(text) {
  byId('status').textContent = text;
}

function complain(text) {
  const problem = byId('problem');
  problem.textContent = text;
  problem.hidden = text === '';
}

function showForm(text = '') {
  say(text);
  form.hidden = false;
  byId('retry').hidden = true;
  byId(byId('email').value ? 'password' : 'email').focus();
}

function offerRetry(text) {
  say('');
  complain(text);
  const retry = byId('retry');
  retry.hidden = false;
  retry.onclick = () => {
    retry.hidden = true;
    complain('');
    start();
  };
  retry.focus();
}

async function start() {
  const signingOut = document.body.dataset.mode === 'signout';
  say(signingOut ? 'Signing out…' : 'Checking your session…');
  try {
    if (signingOut) {
      await signOut();
    } else if (!(await alone(hasSession))) {
      showForm();
    } else if (returnsTooOften()) {
      complain('Your session is valid, but the page you asked for refuses it. Sign in again.');
      showForm();
    } else {
      goOn();
    }
  } catch (error) {
    if (!(error instanceof ServiceDown)) throw error;
    offerRetry(
      signingOut
        ? 'The service does not answer. You are still signed in. Try again in a moment.'
        : SERVICE_DOWN,
    );
  }
}

async function signOut() {
  if (!(await alone(endSession))) {
    offerRetry('Signing out did not work. You are still signed in. Try again.');
    return;
  }
  // Loading the page again must not ask for it once more.
  document.body.dataset.mode = 'login';
  window.history.replaceState(null, '', '/auth/login');
  forgetReturns();
  showForm('You are signed out.');
}

function fieldProblem(id, text) {
  byId(id).setAttribute('aria-invalid', String(text !== ''));
  byId(`${id}-problem`).textContent = text;
}

function filledIn() {
  const email = byId('email');
  fieldProblem('email', email.value.trim() ? '' : 'Enter your e-mail address.');
  fieldProblem('password', byId('password').value ? '' : 'Enter your password.');
  return !focusFirstProblem();
}

function focusFirstProblem() {
  const first = form.querySelector('[aria-invalid="true"]');
  if (first) first.focus();
  return first !== null;
}

// Not `disabled`: that would take the focus away from whoever pressed it.
function block(text) {
  submit.setAttribute('aria-disabled', String(text !== ''));
  submit.textContent = text || 'Sign in';
}

function blocked() {
  return submit.getAttribute('aria-disabled') === 'true';
}

async function signIn() {
  const answer = await call('POST', '/auth/signin', {
    formFields: [
      { id: 'email', value: byId('email').value.trim() },
      { id: 'password', value: byId('password').value },
    ],
  });
  const said = await content(answer);
  if (answer.status === 429) {
    countDown(Number(answer.headers.get('Retry-After')) || 60);
  } else if (said.code === 'csrf_rejected') {
    complain('This page was opened under another address than the platform knows. Open it anew.');
  } else if (answer.ok && said.status === 'OK') {
    forgetReturns();
    goOn();
    return;
  } else {
    refuse(said);
  }
  if (!waiting) block('');
}

function refuse(said) {
  if (said.status === 'FIELD_ERROR') {
    for (const field of said.formFields ?? []) {
      if (field.id === 'email' || field.id === 'password') fieldProblem(field.id, field.error);
    }
    focusFirstProblem();
  } else if (said.status === 'WRONG_CREDENTIALS_ERROR') {
    complain('The e-mail address or the password is not right.');
    byId('password').select();
    byId('password').focus();
  } else {
    complain('Signing in is not possible with this account. Ask an administrator.');
  }
}

// Says how long to wait, and lets nobody try before; the number is read out only once.
function countDown(seconds) {
  complain(`Too many attempts. Wait ${seconds} s, then try again.`);
  window.clearInterval(waiting);
  const until = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    block(left > 0 ? `Wait ${left} s` : '');
    if (left > 0) return;
    window.clearInterval(waiting);
    waiting = 0;
    complain('');
  };
  waiting = window.setInterval(tick, 250);
  tick();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (blocked() || !filledIn()) return;
  complain('');
  say('');
  block('Signing in…');
  try {
    await signIn();
  } catch (error) {
    block('');
    complain(error instanceof ServiceDown ? SERVICE_DOWN : 'Signing in failed. Try again.');
  }
});

byId('reveal').addEventListener('click', () => {
  const password = byId('password');
  const shown = password.type === 'text';
  password.type = shown ? 'password' : 'text';
  byId('reveal').setAttribute('aria-pressed', String(!shown));
  password.focus();
});

// A page the browser kept from before may show what is no longer true.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) window.location.reload();
});

start();
