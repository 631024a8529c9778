# What the books of 1998 must say, from the file of purchases alone and without a line of loyalty:
#
#   awk -f examples/expiry.awk examples/cdnow-sample.csv
#
# Ten points a dollar, rounded down for each purchase; they can be spent for 365 days after its day. Prints the points that
# were issued, those that have expired when 1998 ends, and those that are left.

BEGIN {
    FS = ","
    last = day("1998-12-31")
}

NR > 1 {
    split($4, amount, ".")
    cents = amount[1] * 100 + substr(amount[2] "00", 1, 2)
    points = int(cents / 10)
    issued += points
    if (day($2) + 365 <= last) expired += points
}

END { print issued, expired, issued - expired }

# The number of a day, one more for each day. Years begin in March here, so that a leap day is the last of its year.
function day(text,    part, year, month) {
    split(text, part, "-")
    year = part[2] < 3 ? part[1] - 1 : part[1]
    month = (part[2] + 9) % 12
    return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * month + 2) / 5) + part[3]
}
