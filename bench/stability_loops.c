/* Stability statistics as their definitions read, one plain loop each: what a careful person writes in C in an hour.
 *
 * Each function returns the deviation at one averaging factor m of the phases x (n,), spaced by 1 s. Nothing here is
 * robust against large offsets, nothing is blocked or reordered; `stability.py` compiles it with the system's compiler
 * (-O3 -march=native) and times it beside the package. Total deviations use running sums of each window, MTIE a queue
 * of extremes, MDEV one running sum: their literal sums would take hours.
 *
 * Source: NIST SP 1065 sections 5.2; ITU-T G.810 II.5; Vernotte et al. 2016 (PDEV).
 */
#include <math.h>
#include <stdlib.h>

double adev(const double *x, long n, long m) {
    double sum = 0;
    long count = 0;
    for (long i = 0; i + 2 * m < n; i += m, count++) {
        double d = x[i + 2 * m] - 2 * x[i + m] + x[i];
        sum += d * d;
    }
    return sqrt(sum / (2.0 * count)) / m;
}

double oadev(const double *x, long n, long m) {
    double sum = 0;
    for (long i = 0; i + 2 * m < n; i++) {
        double d = x[i + 2 * m] - 2 * x[i + m] + x[i];
        sum += d * d;
    }
    return sqrt(sum / (2.0 * (n - 2 * m))) / m;
}

double mdev(const double *x, long n, long m) {
    double window = 0, sum = 0;
    for (long k = 0; k < m; k++)
        window += x[k + 2 * m] - 2 * x[k + m] + x[k];
    for (long i = 0;; i++) {
        sum += window * window;
        if (i + 3 * m >= n)
            break;
        window += x[i + 3 * m] - 3 * x[i + 2 * m] + 3 * x[i + m] - x[i];
    }
    return sqrt(sum / (2.0 * (n - 3 * m + 1))) / m / m;
}

double tdev(const double *x, long n, long m) { return mdev(x, n, m) * m / sqrt(3.0); }

double hdev(const double *x, long n, long m) {
    double sum = 0;
    long count = 0;
    for (long i = 0; i + 3 * m < n; i += m, count++) {
        double d = x[i + 3 * m] - 3 * x[i + 2 * m] + 3 * x[i + m] - x[i];
        sum += d * d;
    }
    return sqrt(sum / (6.0 * count)) / m;
}

double ohdev(const double *x, long n, long m) {
    double sum = 0;
    for (long i = 0; i + 3 * m < n; i++) {
        double d = x[i + 3 * m] - 3 * x[i + 2 * m] + 3 * x[i + m] - x[i];
        sum += d * d;
    }
    return sqrt(sum / (6.0 * (n - 3 * m))) / m;
}

static double mirrored(const double *x, long n, long i) {
    if (i < 0)
        return 2 * x[0] - x[-i];
    return i < n ? x[i] : 2 * x[n - 1] - x[2 * (n - 1) - i];
}

double totdev(const double *x, long n, long m) {
    double sum = 0;
    for (long i = 1; i < n - 1; i++) {
        double d = mirrored(x, n, i - m) - 2 * x[i] + mirrored(x, n, i + m);
        sum += d * d;
    }
    return sqrt(sum / (2.0 * (n - 2))) / m;
}

double tierms(const double *x, long n, long m) {
    double sum = 0;
    for (long i = 0; i + m < n; i++) {
        double d = x[i + m] - x[i];
        sum += d * d;
    }
    return sqrt(sum / (n - m));
}

double mtie(const double *x, long n, long m) {
    long *top = malloc(sizeof(long) * n), *low = malloc(sizeof(long) * n);
    long tops = 0, top_end = 0, lows = 0, low_end = 0;
    double most = 0;
    for (long i = 0; i < n; i++) {
        while (top_end > tops && x[top[top_end - 1]] <= x[i])
            top_end--;
        while (low_end > lows && x[low[low_end - 1]] >= x[i])
            low_end--;
        top[top_end++] = low[low_end++] = i;
        tops += top[tops] < i - m;
        lows += low[lows] < i - m;
        if (i >= m && x[top[tops]] - x[low[lows]] > most)
            most = x[top[tops]] - x[low[lows]];
    }
    free(top);
    free(low);
    return most;
}

double theo1(const double *x, long n, long m) {
    double sum = 0;
    for (long i = 0; i < n - m; i++)
        for (long k = 1; k <= m / 2; k++) {
            double d = (x[i] - x[i + k]) + (x[i + m] - x[i + m - k]);
            sum += d * d / k;
        }
    return sqrt(sum / (0.75 * (n - m))) / m;
}

double pdev(const double *x, long n, long m) {
    if (m == 1)
        return oadev(x, n, 1);
    double sum = 0;
    for (long i = 0; i < n - 2 * m; i++) {
        double slope = 0;
        for (long k = 0; k < m; k++)
            slope += ((m - 1) / 2.0 - k) * (x[i + k] - x[i + k + m]);
        sum += slope * slope;
    }
    return sqrt(72 * sum / (n - 2 * m)) / m / m / m;
}

/* The mean square of 6m differences of m-averages of each window of 3m values, its slope out, reflected to 9m. */
static double total(const double *z, long n, long m) {
    long size = 3 * m, half = size / 2, apart = size % 2 ? half + 1 : half, windows = n - size + 1;
    double *star = malloc(sizeof(double) * (9 * m + 1)), sum = 0;
    for (long i = 0; i < windows; i++) {
        double early = 0, late = 0;
        for (long k = 0; k < half; k++) {
            early += z[i + k];
            late += z[i + size - half + k];
        }
        double slope = (late - early) / half / apart;
        star[0] = 0;
        for (long k = 0; k < 9 * m; k++) {
            long at = k < size ? size - 1 - k : k < 2 * size ? k - size : 3 * size - 1 - k;
            star[k + 1] = star[k] + (z[i + at] - slope * at);
        }
        for (long k = 0; k < 6 * m; k++) {
            double d = (star[k + 3 * m] - 3 * star[k + 2 * m] + 3 * star[k + m] - star[k]) / m;
            sum += d * d;
        }
    }
    free(star);
    return sum / (6.0 * m) / windows;
}

double mtotdev(const double *x, long n, long m) { return sqrt(total(x, n, m) / 2) / m; }

double htotdev(const double *x, long n, long m) {
    if (m == 1)
        return ohdev(x, n, 1);
    double *y = malloc(sizeof(double) * (n - 1));
    for (long i = 0; i + 1 < n; i++)
        y[i] = x[i + 1] - x[i];
    double found = sqrt(total(y, n - 1, m) / 6);
    free(y);
    return found;
}
