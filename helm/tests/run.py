"""Runs the chart's tests: arguments are parts of their names.

The last line is `N passed, N failed`; the exit code is 1 when a test failed.
"""

import sys
import time
import unittest
from pathlib import Path


class Tally(unittest.TextTestResult):
    passed = 0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        print(f"ok      {name(test)} ({time.monotonic() - self.began:.2f} s)", flush=True)


def name(test):
    module, _, rest = test.id().partition(".")
    return (
        f"{module.removeprefix('test_')}: {rest.rpartition('.')[2].removeprefix('test_').replace('_', ' ')}"
    )


def main(parts):
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{part.replace(' ', '_')}*" for part in parts] or None
    suite = loader.discover(str(Path(__file__).parent))
    done = unittest.TextTestRunner(resultclass=Tally, verbosity=0).run(suite)
    # Of a test with parts, each part that failed is told; the test counts once.
    failed = {getattr(test, "test_case", test).id() for test, _ in done.failures + done.errors}
    print(f"{done.passed} passed, {len(failed)} failed")
    return 0 if done.wasSuccessful() and done.testsRun and not done.skipped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
